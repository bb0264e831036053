"""Look at the held-out rows, once, with the confirmed winner of a study.

    sweepmore confirm STUDY
    python look.py STUDY

A second call prints the recorded result and reads no held-out row. Another model is refused (exit
code 3), because a split that chooses among models no longer tells how good the chosen one is.
"""

import json
import sys
from pathlib import Path

from rows import search_rows, test_rows
from sklearn.ensemble import HistGradientBoostingClassifier
from sqlalchemy.engine import make_url

import sweepmore
from sweepmore import seal
from sweepmore.errors import UserError

HERE = Path(__file__).resolve().parent


def look_at(name: str) -> seal.Look:
    """Check → claim → read → record; return the look with its result."""
    # check: everything that can fail without the held-out rows
    winner = sweepmore.load_study(name, outputs=HERE / "outputs").winner
    if winner is None:
        raise UserError(f"{name} has no winner.", cure=f"sweepmore confirm {name}")
    params = {key.removeprefix("model."): value for key, value in winner.params.items()}
    x, y = search_rows()
    model = HistGradientBoostingClassifier(**params, random_state=0).fit(x, y)
    # the other rows of the same data identify the split; settings and rows identify the weights
    split = seal.key_of(f"all rows but {x.tolist()}")
    weights = seal.key_of(f"{split} {json.dumps(params, sort_keys=True)}")
    ledger = seal.Ledger(make_url(f"sqlite:///{HERE / 'outputs' / 'looks.db'}"), HERE / "looks")
    for look in ledger.known(split):
        if look.checkpoint == weights and look.result is not None:
            return look
    # claim: from here on, the split counts as looked at, whatever happens
    look = ledger.claim(split, weights, {"study": name, "params": params})
    # read for the first time, and record before anybody sees the number
    x, y = test_rows()
    return ledger.finish(look, {"rows": len(y), "error": 1 - model.score(x, y)})


if __name__ == "__main__":
    try:
        done = look_at(*sys.argv[1:2] or ["last"])
    except seal.Refused as refused:
        print(f"error: {refused.problem}", file=sys.stderr)
        sys.exit(refused.exit_code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"look {done.number}, {done.claimed}: error {done.result['error']:.4f}")
