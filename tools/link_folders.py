"""Link orderledger/<folder> to ../<folder>, which type checkers, editors and grimp need.

Running the library needs none of them: the editable install maps the folders by itself. The links
are git-ignored, since a committed link breaks archives and checkouts without link support.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
COMPONENTS: Final = ("ledger", "commands", "projections", "replay", "snapshots")


def main() -> None:
    """Create the missing links; leave what already points at the right folder."""
    for name in COMPONENTS:
        link = ROOT / "orderledger" / name
        target = Path("..") / name
        if link.is_symlink():
            if link.readlink() == target:
                continue
            link.unlink()
        link.symlink_to(target, target_is_directory=True)


if __name__ == "__main__":
    main()
