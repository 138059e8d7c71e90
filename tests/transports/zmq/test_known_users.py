"""Who gets in by allowed_users and allowed_groups: the decisions, with literal peers and a literal system."""

import grp
import logging
import os
import pwd
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import eis.msgbus as mb
from eis.msgbus._config import Users
from eis.msgbus.transports.zmq.door import Door, Question

if sys.platform == "win32":
    pytest.skip("users of Unix", allow_module_level=True)

from eis.msgbus.transports.zmq import accounts, known_users
from eis.msgbus.transports.zmq.known_users import KnownUsers
from tests.transports.zmq.helpers import Clock

USERS = {"root": (0, 0), "camera": (1001, 1001), "viewer": (1002, 1002), "nobody": (65534, 65534)}
GROUPS = {"root": (0, []), "camera": (1001, []), "viewer": (1002, []), "video": (44, ["viewer"])}


@pytest.fixture(autouse=True)
def _system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system of four users, of whom the viewer is in the group video."""

    def user(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_name=name, pw_uid=USERS[name][0], pw_gid=USERS[name][1])

    def group(name: str) -> SimpleNamespace:
        return SimpleNamespace(gr_name=name, gr_gid=GROUPS[name][0])

    def member(name: str, gid: int) -> list[int]:
        return [gid, *(number for number, members in GROUPS.values() if name in members)]

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user({ids[0]: name for name, ids in USERS.items()}[uid]))
    monkeypatch.setattr(grp, "getgrnam", group)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group({number: name for name, (number, _) in GROUPS.items()}[gid]))
    monkeypatch.setattr(os, "getgrouplist", member)
    accounts.groups_of.cache_clear()
    yield
    accounts.groups_of.cache_clear()


def peer(uid: int, gid: int) -> Question:
    return Question(f"localhost:{uid}:{gid}:4242", b"NULL", ())


@pytest.mark.parametrize(
    ("who", "uid", "gid", "name"),
    [
        (Users(("viewer",)), 1002, 1002, "viewer"),
        (Users((1002,)), 1002, 1002, "viewer"),
        (Users(("viewer",)), 1001, 1002, None),
        (Users(("viewer",)), 0, 0, None),
        (Users((), ("video",)), 1002, 1002, "viewer"),
        (Users((), (44,)), 1002, 1002, "viewer"),
        (Users((), ("video",)), 1001, 1001, None),
        (Users((), ("video",)), 1001, 44, "camera"),
        (Users((), (1002,)), 1002, 1001, "viewer"),
        (Users((), ("video",)), 5000, 44, "5000"),
        (Users((), ("video",)), 5000, 5000, None),
        (Users((5000,)), 5000, 5000, "5000"),
        (Users((5000,)), 5001, 5000, None),
        (Users(("camera",), ("video",)), 1002, 1002, "viewer"),
        (Users(("camera",), ("video",)), 1001, 1001, "camera"),
        (Users(("root",)), 0, 0, "root"),
        (Users(), 0, 0, None),
        (Users(), os.geteuid(), os.getegid(), None),
        (Users((4294967294,)), 4294967295, 0, None),
    ],
)
def test_peer_gets_in_by_its_user_its_group_or_the_groups_of_its_account(
    who: Users, uid: int, gid: int, name: str | None
) -> None:
    assert KnownUsers(who).judge(peer(uid, gid)) == name


@pytest.mark.parametrize(
    "odd",
    [
        Question("", b"NULL", ()),
        Question("127.0.0.1", b"NULL", ()),
        Question("1002:1002:1", b"NULL", ()),
        Question("localhost:1002:1002", b"NULL", ()),
        Question("localhost:1002:1002:1:1", b"NULL", ()),
        Question("localhost:1002:1002:1\n", b"NULL", ()),
        Question("localhost:+1002:1002:1", b"NULL", ()),
        Question("localhost: 1002:1002:1", b"NULL", ()),
        Question("localhost:\u0661002:1002:1", b"NULL", ()),
        Question("elsewhere:1002:1002:1", b"NULL", ()),
        Question("localhost:00000001002:1002:1", b"NULL", ()),
        Question("localhost:1002:1002:1", b"CURVE", (b"k" * 32,)),
        Question("localhost:1002:1002:1", b"PLAIN", (b"viewer", b"password")),
        Question("localhost:1002:1002:1", b"NULL", (b"more",)),
    ],
    ids=str,
)
def test_nobody_gets_in_when_the_question_is_odd(odd: Question) -> None:
    known = KnownUsers(Users(("viewer", 0), ("viewer", 0)))
    assert known.judge(odd) is None
    assert known.told(odd) == "a client whose user is not known"


def test_address_may_lack_the_host_as_some_systems_have_it() -> None:
    assert KnownUsers(Users(("viewer",))).judge(Question(":1002:1002:1", b"NULL", ())) == "viewer"


@pytest.mark.parametrize(
    ("who", "where", "kind"),
    [
        (Users(("viewer", "veiwer"), where="camera1"), "camera1.allowed_users[1]", "user"),
        (Users((), ("vidoe",), where='""'), '"".allowed_groups[0]', "group"),
    ],
)
def test_name_that_the_system_does_not_know_is_an_error_with_its_place(who: Users, where: str, kind: str) -> None:
    with pytest.raises(mb.InvalidConfig, match=f"expected a {kind} of this system, by name or number, got") as caught:
        KnownUsers(who)
    assert caught.value.where == where


def test_change_of_groups_counts_within_ten_seconds_and_the_system_is_asked_once_in_that_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, asked, groups = Clock(), [], [44]

    def member(name: str, gid: int) -> list[int]:
        asked.append((name, gid))
        return groups

    monkeypatch.setattr(known_users, "time", clock)
    monkeypatch.setattr(os, "getgrouplist", member)
    known = KnownUsers(Users((), ("video",)))
    assert [known.judge(peer(1001, 1001)) for _ in range(5)] == ["camera"] * 5
    assert asked == [("camera", 1001)]
    groups.remove(44)
    clock.now += 10
    assert known.judge(peer(1001, 1001)) is None


def test_groups_are_not_looked_up_when_none_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", None)
    assert KnownUsers(Users(("viewer",))).judge(peer(1001, 1001)) is None


def test_door_names_the_user_that_it_lets_in_and_the_one_that_it_refuses(caplog: pytest.LogCaptureFixture) -> None:
    at = Door("/run/bus/camera1")
    at.judge_by(Users(("viewer",)))
    with caplog.at_level(logging.INFO):
        for asked in (peer(1002, 1002), peer(5000, 44)):
            at.tell(asked, at.judge(asked))
    not_listed = "who is not in allowed_users nor in one of the allowed_groups"
    assert (at.let_in, at.refused) == ({"viewer": 1}, 1)
    assert caplog.messages == [
        "/run/bus/camera1 let viewer in, from localhost:1002:1002:4242",
        f"/run/bus/camera1 refused the user 5000, {not_listed}, from localhost:5000:44:4242",
    ]


def test_who_is_barred_gets_no_shared_memory_either() -> None:
    door = Door("ipc:///run/camera1")
    door.judge_by(Users(users=("viewer",)))
    assert door.admits(1002, 1002, 1)
    door.bar("viewer", "has sent what no subscriber sends")
    assert not door.admits(1002, 1002, 1)


def test_groups_have_names_and_those_without_have_their_number() -> None:
    assert [accounts.group_name(gid) for gid in (44, 4444)] == ["video", "4444"]
