"""Results in plain sentences. They say no more than the numbers do."""

from __future__ import annotations

from studies.rater_statistics import Consistency, Gain
from studies.statistics import PairResult, StudyResults

FEW = 20  # answers below which a count says more than a share
# Upper ends of Landis and Koch's bands (Biometrics 1977), in words of our own.
BANDS = (
    (0.0, "raters agree no more than by chance"),
    (0.2, "raters agree slightly more than by chance"),
    (0.4, "raters agree somewhat"),
    (0.6, "raters agree moderately"),
    (0.8, "raters agree strongly"),
    (1.0, "raters agree almost always"),
)


def percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def of_pair(pair: PairResult) -> str:
    score = f"{percent(pair.score)} for {pair.first}"
    if pair.low is None or pair.high is None:
        names = f"{pair.first} and {pair.second}"
        return f"Too early to say about {names} ({score}; an interval takes two raters and two problems)."
    interval = f"{score}, 95\N{NO-BREAK SPACE}% interval {percent(pair.low)} to {percent(pair.high)}"
    if pair.low > 0.5:
        return f"Raters prefer {pair.first} to {pair.second} ({interval})."
    if pair.high < 0.5:
        return f"Raters prefer {pair.second} to {pair.first} ({interval})."
    return f"No clear preference between {pair.first} and {pair.second} so far ({interval})."


def of_agreement(results: StudyResults) -> str:
    if results.agreement is None:
        return "Nothing to say yet: it takes comparisons that two raters have judged, and answers that differ."
    words = next(words for upper, words in BANDS if results.agreement <= upper + 1e-9)
    interval = ""
    if results.agreement_interval is not None:
        low, high = results.agreement_interval
        interval = f", 95\N{NO-BREAK SPACE}% interval {number(low)} to {number(high)}"
    alpha = f"Krippendorff’s alpha {number(results.agreement)}{interval}; 1 is perfect agreement, 0 is chance"
    return f"{words.capitalize()} ({alpha})."


def of_sides(results: StudyResults) -> str:
    if results.left_share is None:
        return ""
    left = round(results.left_share * results.decided)
    share = f"{left} of {results.decided}" if results.decided < FEW else percent(results.left_share)
    return f"The explanation on the left was chosen in {share} of the answers that chose one."


def of_consistency(found: Consistency | None) -> str:
    if found is None:
        return ""
    interval = ""
    if found.interval:
        low, high = found.interval
        interval = f", 95\N{NO-BREAK SPACE}% interval {percent(low)} to {percent(high)}"
    share = f"{found.same} of {found.repeats}" if found.repeats < FEW else percent(found.share)
    return (
        f"Shown a comparison again with sides swapped, raters answered as before in {share} of the cases{interval}; "
        f"by chance it would be {percent(found.chance)}."
    )


def of_gain(found: Gain) -> str:
    what = f"Having read {found.first} and {found.second}, raters predicted the model"
    points = f"{percent(found.before)} right before, {percent(found.after)} after"
    if found.interval is None:
        return f"{what} with {points}; too few to say more."
    low, high = (f"{100 * end:+.0f}".replace("-", "\N{MINUS SIGN}") for end in found.interval)
    clearly = "better" if found.interval[0] > 0 else "worse" if found.interval[1] < 0 else ""
    words = clearly or "neither clearly better nor clearly worse"
    return f"{what} {words} ({points}; 95\N{NO-BREAK SPACE}% interval of the gain {low} to {high} points)."
