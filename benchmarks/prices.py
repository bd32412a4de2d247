"""Write daemon/routerd/spend/prices.json anew, from the package ``genai-prices`` as it is installed here:

pip install -U genai-prices && python -m benchmarks.prices
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from routerd.spend.fresh import installed
from routerd.spend.price import MAKERS

TABLE = Path(__file__).parent.parent / "daemon/routerd/spend/prices.json"


def main() -> None:
    now = datetime.now(UTC)
    table = installed(now)
    lines = [msgspec.json.encode(seller).decode() for seller in table.sellers]
    head = f'{{"date": "{now.date()}", "version": "{table.version}", "sellers": [\n'
    TABLE.write_text(head + ",\n".join(lines) + "\n]}\n")
    models = sum(len(seller.models) for seller in table.sellers)
    missing = set(MAKERS) - {seller.name for seller in table.sellers}
    assert not missing, f"the package has no prices of {missing}"
    print(f"{TABLE}: {models} models of {len(table.sellers)} sellers, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
