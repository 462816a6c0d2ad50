"""Roles: what a setting is to a plan, and to the runs that come after."""

from __future__ import annotations

from enum import Flag, auto


class Role(Flag):
    """What a setting is to a plan, and to the runs that come after; most are nothing."""

    PLAN = auto()  # decides which plan is made: one is only applied under those it was made with
    GUARD = auto()  # what else a run that is planned anew takes along: above all what may stop it
    PLACE = auto()  # says where a run's data is: all that its undoing depends on
    SOURCE = auto()  # says where else a run reads, and with it a later look at its sessions
    VIEW = auto()  # is alike in the last success and the run that goes on from there
    PART = auto()  # makes a run one of some sessions, or of some findings only
    ONCE = auto()  # is asked of one run: no config file holds it
    LATER = auto()  # is not named by runs of before it was there: they had the default


PLAN, GUARD, PLACE, SOURCE, VIEW, PART, ONCE, LATER = Role
