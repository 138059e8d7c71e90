"""The tree of errors: who catches what, and how the text of an error is put together."""

import copy
import pickle

import pytest

import eis.msgbus as mb
from eis.msgbus import exceptions
from eis.msgbus.exceptions import InvalidConfig, InvalidMessage, NoMessage, ReceiveTimeout

SIBLINGS = [mb.MessageBusError, mb.ReceiveTimeout, mb.Disconnected, mb.MessageBusAuthenticationFailed]


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_exception_is_public_and_has_one_root(name: str) -> None:
    assert issubclass(getattr(mb, name), mb.MsgbusException)


@pytest.mark.parametrize("one", SIBLINGS)
def test_originals_four_do_not_catch_each_other(one: type[Exception]) -> None:
    assert [other for other in SIBLINGS if issubclass(one, other)] == [one]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (mb.InvalidConfig, ValueError),
        (mb.InvalidMessage, ValueError),
        (mb.AddressInUse, OSError),
        (mb.ReceiveTimeout, TimeoutError),
        (mb.Disconnected, ConnectionError),
    ],
)
def test_error_is_also_pythons_own_where_there_is_one(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


@pytest.mark.parametrize("error", [mb.InvalidConfig, mb.InvalidMessage, mb.AddressInUse, mb.NoMessage])
def test_misuse_is_a_message_bus_error(error: type[Exception]) -> None:
    assert issubclass(error, mb.MessageBusError)


@pytest.mark.parametrize("caught", [ReceiveTimeout, mb.MessageBusError, TimeoutError])
def test_no_message_is_caught_as_timeout_and_as_message_bus_error(caught: type[Exception]) -> None:
    with pytest.raises(caught):
        raise NoMessage("nothing there")


def test_invalid_config_says_where_and_what() -> None:
    error = InvalidConfig("expected int, got str", "camera1.port")
    assert (str(error), error.where, error.problem) == (
        "config camera1.port: expected int, got str",
        "camera1.port",
        "expected int, got str",
    )


def test_invalid_config_says_config_when_the_whole_of_it_is_wrong() -> None:
    assert str(InvalidConfig("expected a dict")) == "config: expected a dict"


def test_invalid_message_begins_with_the_place() -> None:
    assert str(InvalidMessage("cannot send bytes inside metadata", "metadata.x")) == (
        "metadata.x: cannot send bytes inside metadata"
    )


def test_invalid_message_is_the_problem_alone_when_there_is_no_place() -> None:
    assert str(InvalidMessage("announced 2 parts, sent 1")) == "announced 2 parts, sent 1"


@pytest.mark.parametrize("error", [InvalidConfig("a", "b"), InvalidMessage("a", "b"), NoMessage("a")])
def test_error_stays_the_same_when_pickled_and_copied(error: Exception) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  # made one line above
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("name", exceptions.__all__)
def test_tree_in_the_docstring_names_every_exception(name: str) -> None:
    assert name in (exceptions.__doc__ or "")
