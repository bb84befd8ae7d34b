"""The tables of a chat template's state machine, as a graph looks them up."""

from zoo.text.chat.questions import Test
from zoo.text.chat.state_machine import DEAD, ROLES, ChatMachine, Rule, Slot

NONE = len(ROLES)  # the role of an empty message


def tests(machine: ChatMachine) -> tuple[list[Test], list[list[int]]]:
    """All tests, and for each role and test the weight of a yes in a key."""
    rows = machine.tests.values()
    found = list(dict.fromkeys(test for row in rows for test in row))
    weights = [[0] * len(found) for _ in range(NONE + 1)]
    for role, row in machine.tests.items():
        for place, test in enumerate(row):
            weights[ROLES.index(role)][found.index(test)] = (NONE + 1) << place
    return found, weights


def key(role: str, answers: tuple[bool, ...]) -> int:
    """The role and its answers as one number."""
    return ROLES.index(role) + sum(
        (NONE + 1) << place for place, answer in enumerate(answers) if answer
    )


def forward_maps(machine: ChatMachine) -> list[list[int]]:
    """The next state by symbol and state: first as a message, then as the last one."""
    count, dead = len(machine.next_state[0]), len(machine.next_state)
    as_message = [
        [dead if row[n] == DEAD else row[n] for row in machine.next_state] + [dead]
        for n in range(count)
    ]
    as_last = [
        [0 if row[n] else dead for row in machine.ends] + [dead] for n in range(count)
    ]
    return [*as_message, *as_last, list(range(dead + 1))]


def backward_maps(machine: ChatMachine) -> list[list[int]]:
    """The backward state before a symbol, by symbol and backward state."""
    count = len(machine.back_state[0])
    maps = [[max(row[n], 0) for row in machine.back_state] for n in range(count)]
    return [*maps, list(range(len(machine.back_state)))]


def places(machine: ChatMachine, rules: list[Rule]) -> list[int]:
    """The number of each rule, by state, symbol and backward state."""
    count, behind = len(machine.next_state[0]), len(machine.back_state)
    return [
        rules.index(machine.rules[key].parts) if key in machine.rules else -1
        for key in (
            (s, n, b)
            for s in range(len(machine.next_state))
            for n in range(count)
            for b in range(behind)
        )
    ]


def role_fits(machine: ChatMachine) -> list:
    """Whether a role may come, by state, role and whether the message is the last."""
    states = range(len(machine.next_state))
    found = [
        [
            [machine.fits(s, role, last) for last in (False, True)]
            for role in (*ROLES, "")
        ]
        for s in states
    ]
    return [*found, [[False, False]] * (NONE + 1)]


def texts(parts: Rule, width: int) -> list[str]:
    """The texts before, between and behind the slots of a rule."""
    found = [""]
    for part in parts:
        if isinstance(part, Slot):
            found.append("")
        else:
            found[-1] += part
    return found + [""] * (width + 1 - len(found))
