"""Map the component folders at the root to one import name, `orderledger.<folder>`."""

from setuptools import find_packages, setup

COMPONENTS = ("ledger", "commands", "projections", "replay", "snapshots")

# `make dev` leaves links such as orderledger/ledger -> ../ledger; walking them would list every
# component twice, so the front door is searched without them.
front_door = find_packages(
    include=["orderledger", "orderledger.*"],
    exclude=[
        pattern
        for name in COMPONENTS
        for pattern in (f"orderledger.{name}", f"orderledger.{name}.*")
    ],
)
components = find_packages(
    include=[pattern for name in COMPONENTS for pattern in (name, f"{name}.*")]
)

setup(
    packages=[*front_door, *(f"orderledger.{name}" for name in components)],
    package_dir={
        "orderledger": "orderledger",
        **{f"orderledger.{name}": name for name in COMPONENTS},
    },
)
