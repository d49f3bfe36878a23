"""Verdicts, the JSON of a claim, and the main job from end to end."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview.commands.main import main
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.verdicts.claims import Claim, check_claims, check_verifiable
from multiview.verdicts.prediction import Prediction

REQUIRED = {
    "id", "statement", "unit", "predicted", "paper", "measured", "interval", "verdict", "replicates", "seeds",
    "test_samples",
}  # fmt: skip
ERROR_CLAIMS = {"single_error", "ensemble_error", "distilled_error", "self_distilled_error"}
IDS = ERROR_CLAIMS | {
    "train_error_single", "train_error_distilled", "lottery_prediction", "dark_knowledge",
}  # fmt: skip
VERDICTS = {"holds", "fails", "undecided"}


def claim(measured=0.5, interval=(0.45, 0.55), predicted=(0.4, 0.6), bearable=0.125) -> Claim:
    return Claim("id", "statement", "μ", predicted, (0.49, 0.51), measured, interval, bearable, 2, 5)


@pytest.mark.parametrize(
    ("given_claim", "verdict"),
    [
        (claim(), "holds"),
        (claim(0.3, (0.25, 0.35)), "fails"),
        (claim(0.7, (0.65, 0.75)), "fails"),
        (claim(0.35, (0.30, 0.41)), "holds"),  # overlaps
        (claim(0.35, (0.30, 0.40)), "holds"),  # touches
        (claim(0.5, (0.3, 0.7)), "undecided"),  # too wide
        (claim(0.1, (0.0, 0.3)), "fails"),  # wide, but nowhere near
        (claim(math.nan, (math.nan, math.nan)), "undecided"),
        (claim(0.5, (0.45, math.nan)), "undecided"),
        (claim(math.nan), "undecided"),
    ],
)
def test_verdict(given_claim, verdict):
    assert given_claim.verdict == verdict


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_verdict_holds_only_if_intervals_overlap_and_fails_only_if_they_do_not(a, b, c, d, bearable):
    interval, predicted = (min(a, b), max(a, b)), (min(c, d), max(c, d))
    found = claim((a + b) / 2, interval, predicted, bearable).verdict
    overlap = interval[0] <= predicted[1] and predicted[0] <= interval[1]
    assert (found == "fails") == (not overlap)
    if overlap:
        assert (found == "holds") == (interval[1] - interval[0] <= bearable)


PREDICTIONS = {
    name: Prediction(0.5, 0.0, 1.0)
    for name in ("single", "ensemble", "ensemble_probabilities", "distilled", "self_distilled", "dark_knowledge")
}


def test_every_claim_is_there_and_its_json_is_complete(tiny_result):
    claims = check_claims(tiny_result, PREDICTIONS)
    assert {c.id for c in claims} >= IDS
    assert len({c.id for c in claims}) == len(claims)
    for c in claims:
        values = json.loads(json.dumps(c.to_mapping(), allow_nan=False))
        assert set(values) >= REQUIRED
        assert values["verdict"] in VERDICTS
        assert values["predicted"][0] <= values["predicted"][1]
        assert values["interval"][0] <= values["measured"] <= values["interval"][1]
        assert ("e_multi_view" in values) == ("e_single_view" in values) == c.id.endswith("_error")


def test_measured_errors_are_those_of_the_groups_in_units_of_mu(tiny_result, tiny):
    claims = {c.id: c for c in check_claims(tiny_result, PREDICTIONS)}
    mu = tiny.data.single_view_fraction
    for name in ("single", "distilled", "self_distilled"):
        c, errors = claims[f"{name}_error"], tiny_result.groups[name].errors
        assert c.e_multi_view == pytest.approx(errors.multi_view.mean() / 200)
        assert c.e_single_view == pytest.approx(errors.single_view.mean() / 200)
        assert c.measured * mu == pytest.approx((1 - mu) * c.e_multi_view + mu * c.e_single_view)
        assert c.test_samples == tiny.replicates * 400
    assert (claims["single_error"].replicates, claims["single_error"].seeds) == (2, 5)
    assert (claims["distilled_error"].replicates, claims["distilled_error"].seeds) == (2, 3)


def test_predictions_are_what_the_claims_are_judged_by(tiny_result):
    changed = PREDICTIONS | {"single": Prediction(-2.0, -3.0, -1.0)}
    verdicts = {c.id: c.verdict for c in check_claims(tiny_result, changed)}
    assert verdicts["single_error"] == "fails"


def test_claims_need_a_unit(tiny):
    with pytest.raises(ConfigError, match=r"data.single_view_fraction = 0"):
        check_verifiable(replace(tiny, {"data.single_view_fraction": 0.0}))


def test_verify_writes_its_json_and_its_picture_and_says_by_its_status_whether_a_claim_fails(empty, flags, capsys):
    status = main(["verify", *flags, "--out", "figures", "--json", "verify.json"])
    captured = capsys.readouterr()
    document = json.loads((empty / "verify.json").read_text(encoding="utf-8"))
    assert set(document) >= {"preset", "version", "device", "config", "claims"}
    verdicts = {c["id"]: c["verdict"] for c in document["claims"]}
    assert set(verdicts) >= IDS
    assert status == int("fails" in verdicts.values())
    for c in document["claims"]:
        assert set(c) >= REQUIRED
        assert c["id"] not in ERROR_CLAIMS or {"e_multi_view", "e_single_view"} <= set(c)
        assert c["id"] in captured.out
    assert document["config"]["data"]["num_classes"] == 4
    (picture,) = (empty / "figures").iterdir()
    assert picture.suffix == ".png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert {p.name for p in empty.iterdir()} == {"figures", "verify.json"}
