"""The configuration manager of EIS/EII for its applications: `cfgmgr.config_manager.ConfigMgr`.

It knows where an application's settings are kept; what they mean on the bus is known to `eis.msgbus.interfaces`.
"""
