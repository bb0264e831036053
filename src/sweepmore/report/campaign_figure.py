"""What the figure of a campaign shows, as plain numbers: ``campaign_drawing`` draws them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweepmore.report.chart import Chart, Curve, Point
from sweepmore.statistics.intervals import Interval, t_interval
from sweepmore.study.campaigns import Challenge, champions_of
from sweepmore.study.championship import fresh_values
from sweepmore.wording import decimals, plural, plus_minus, real_minus

LEGEND = {
    "keep": "kept",
    "undecided": "undecided",
    "discard": "discarded",
    "far": "far worse",
    "failed": "failed or diverged",
    "begun": "not decided yet",
}
CHAMPION, LOOP = "the champion", "keeping each new best run"
# How far an interval may stretch the axis, as a share of what the dots need. Wider ones are cut:
# those of two seeds are a hundred times as wide as a gain (guess).
STRETCH = 0.75
# The noise that an axis has room for, in standard deviations of the champion's runs (guess).
ROOM = 4.0
# The lines step so far behind the challenge that was kept, beside its interval: the next one is the
# first to meet the new champion.
STEP = 0.5
# How far they go on behind the last challenge: not as far as to the next number.
TAIL = 0.9
# Where marks stand that have no place of their own: so far from the worse end, as a share.
RIM = 0.03


@dataclass(frozen=True)
class Reign:
    """A champion's mean over the seeds of its challenges; an infinite half where it is unknown."""

    number: int
    level: Interval


def campaign_chart(
    challenges: Sequence[Challenge],
    names: Mapping[int, str],
    metric: str,
    sign: float,
    winner: Interval,
    cap: int,
) -> Chart:
    """Return the challenges in order, each at its champion's mean minus its gain.

    ``names`` are those of the challenges that were kept. ``sign`` is 1 where a lower value is
    better, else -1. ``winner`` is the confirmed value, for a champion 0 that has not run yet.
    """
    line = reigns(challenges, sign, winner)
    levels = {reign.number: reign.level.mean for reign in line}
    loop = kept_by_a_loop(challenges, sign)
    low, high = limits(challenges, line, [value for _, value in loop], sign)
    points = [_point(each, levels, (low, high), sign, names) for each in challenges]
    end = max(each.number for each in challenges) + TAIL
    return Chart(
        "campaign", title(challenges), "challenge", metric, points,
        [_stairs(line, end), *([_loop(loop, end)] if len(loop) > 1 else [])],
        better="low" if sign > 0 else "high", bottom=low, top=high, legend=LEGEND,
        subtitle=subtitle(challenges, points, metric, sign),
        strip=[(each.number, len(each.seeds)) for each in challenges], strip_top=cap,
    )  # fmt: skip


def reigns(challenges: Sequence[Challenge], sign: float, winner: Interval) -> list[Reign]:
    """The line of champions, each with the mean of the runs that its challenges met.

    A champion that no challenge has met yet stands where its own challenge put it.
    """
    line = list[Reign]()
    for number in champions_of(challenges):
        if values := fresh_values(number, challenges):
            level = t_interval(values)
        elif not line:
            level = winner
        else:
            own = next(each for each in challenges if each.number == number)
            level = Interval(line[-1].level.mean - sign * (own.gain or 0.0), math.inf)
        line.append(Reign(number, level))
    return line


def kept_by_a_loop(challenges: Sequence[Challenge], sign: float) -> list[tuple[int, float]]:
    """What a loop keeps that trains once and keeps every new best: numbers and their values.

    It sees the first seed of each challenge, and begins with the first run of champion 0.
    """
    kept = [(0, each.champion_values[0]) for each in challenges if each.champion_values][:1]
    for each in challenges:
        if kept and each.values and sign * each.values[0] < sign * kept[-1][1]:
            kept.append((each.number, each.values[0]))
    return kept


def gain_of(challenge: Challenge) -> Interval | None:
    """The gain of a decided challenge, None where it has none or no finite one."""
    gain = challenge.interval
    return gain if gain is not None and math.isfinite(gain.mean) else None


def limits(
    challenges: Sequence[Challenge], line: Sequence[Reign], loop: Sequence[float], sign: float
) -> tuple[float, float]:
    """The ends of the vertical axis: all dots that are not far worse, and what intervals need.

    As losses, the better end is the lower one; for values to maximize both are turned at the end.
    """
    levels = {reign.number: sign * reign.level.mean for reign in line}
    gains = {each.number: gain for each in challenges if (gain := gain_of(each)) is not None}
    dots = {each.number: levels[each.champion] - gains[each.number].mean
            for each in challenges if each.number in gains}  # fmt: skip
    surer = [each.number for each in challenges
             if each.number in gains and each.verdict != "discard"]  # fmt: skip
    core = [*levels.values(), *(dots[number] for number in surer), *(sign * v for v in loop)]
    span = max(max(core) - min(core), ROOM * _noise(challenges)) or max(
        (dot - max(core) for dot in dots.values()), default=0.0)  # fmt: skip
    shown = core + [dot for dot in dots.values() if dot <= max(levels.values()) + span]
    low, high = min(shown), max(shown)
    # intervals of challenges that may be better, and of champions, as far as they leave room
    reach = STRETCH * max(high - low, span)
    wide = [(dots[number], gains[number].half) for number in surer]
    wide += [(sign * r.level.mean, r.level.half) for r in line if math.isfinite(r.level.half)]
    low = max(low - reach, min([low, *(mid - half for mid, half in wide)]))
    high = min(high + reach, max([high, *(mid + half for mid, half in wide)]))
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ends = sorted((sign * (low - 2 * pad), sign * (high + pad)))  # names are at the better end
    return ends[0], ends[1]


def _noise(challenges: Sequence[Challenge]) -> float:
    """The standard deviation of the champion's runs, the largest where there were several."""
    rows = [each.champion_values for each in challenges if len(each.champion_values) > 1]
    longest = {len(row): row for row in rows}
    return statistics.stdev(longest[max(longest)]) if longest else 0.0


def _point(
    each: Challenge, levels: Mapping[int, float], ends: tuple[float, float], sign: float,
    names: Mapping[int, str],
) -> Point:  # fmt: skip
    """A challenge's dot. What has no value, or is far worse, stands at the worse rim."""
    gain, level = gain_of(each), levels[each.champion]
    worse, other = ends if sign < 0 else ends[::-1]
    at_rim = worse + RIM * (other - worse)
    if each.verdict is None:
        return Point(each.number, level, tooltip_of(each), "begun")
    if gain is None:
        return Point(each.number, at_rim, tooltip_of(each), "failed")
    value = level - sign * gain.mean
    if sign * value > sign * worse:
        return Point(each.number, at_rim, tooltip_of(each), "far")
    # intervals of two seeds, each as high as the axis, would hide the rest behind a fence
    fits = ends[0] <= value - gain.half and value + gain.half <= ends[1]
    half = gain.half if fits or each.verdict != "discard" else None
    return Point(each.number, value, tooltip_of(each), each.verdict, names.get(each.number, ""),
                 half=half)  # fmt: skip


def tooltip_of(each: Challenge) -> str:
    """A challenge in words: number, verdict, gain, seeds and reason."""
    gain = gain_of(each)
    parts = [
        f"challenge {each.number}",
        LEGEND[each.verdict or "begun"],
        "" if gain is None else f"gain {real_minus(plus_minus(gain.mean, gain.half, sign='+'))}",
        plural(len(each.seeds), "seed") if each.seeds else "",
        each.reason,
    ]
    return " · ".join(part for part in parts if part)


def _stairs(line: Sequence[Reign], end: float) -> Curve:
    """The line of champions, which steps where a challenge is kept."""
    rows = [*line, line[-1]]
    x = [STEP, *(reign.number + STEP for reign in line[1:]), end]
    halves = [r.level.half if math.isfinite(r.level.half) else math.nan for r in rows]
    means = [reign.level.mean for reign in rows]
    low = [mean - half for mean, half in zip(means, halves)]
    high = [mean + half for mean, half in zip(means, halves)]
    return Curve(CHAMPION, x, means, low, high)


def _loop(kept: Sequence[tuple[int, float]], end: float) -> Curve:
    x = [STEP, *(number + STEP for number, _ in kept[1:]), end]
    values = [value for _, value in kept]
    return Curve(LOOP, x, [*values, values[-1]], dashed=True)


def title(challenges: Sequence[Challenge]) -> str:
    """What the campaign has found."""
    decided = [each for each in challenges if each.verdict is not None]
    kept = [each for each in decided if each.verdict == "keep"]
    undecided = sum(each.verdict == "undecided" for each in decided)
    if not decided:
        return "No challenge is decided yet"
    if not kept:
        of = f"None of {plural(len(decided), 'challenge')}" if len(decided) > 1 else "No challenge"
        open_ = f"; {undecided} undecided" if undecided else ""
        return f"{of} is surely better than the confirmed winner{open_}"
    last = kept[-1]
    by = (
        "" if last.interval is None else f" by {plus_minus(last.interval.mean, last.interval.half)}"
    )
    if len(kept) == 1:
        return f"Challenge {last.number} is better than the confirmed winner{by}"
    which = f"the last, challenge {last.number}, is better{by} than challenge {last.champion}"
    return f"{len(kept)} of {len(decided)} challenges were kept; {which}"


def subtitle(
    challenges: Sequence[Challenge], points: Sequence[Point], metric: str, sign: float
) -> str:
    """Of how many challenges and seeds, and what is drawn."""
    decided = [each for each in challenges if each.verdict is not None]
    seeds = [len(each.seeds) for each in decided] or [0]
    many = plural(max(seeds), "seed") if min(seeds) == max(seeds) else (
        f"{min(seeds)} to {plural(max(seeds), 'seed')}")  # fmt: skip
    each = " each" if len(decided) > 1 else ""
    parts = [
        f"n = {plural(len(decided), 'decided challenge')} of {many}{each}",
        f"{metric}, {'lower' if sign > 0 else 'higher'} is better",
        "95 % intervals, open where cut (discarded: only where they fit)",
    ]
    for style in ("far", "failed", "begun"):
        if number := sum(point.style == style for point in points):
            parts.append(f"{number} {LEGEND[style]}")
    return "; ".join(parts)


def loop_words(challenges: Sequence[Challenge], sign: float) -> str:
    """How many challenges a loop would have kept that keeps each new best of one run."""
    kept = kept_by_a_loop(challenges, sign)
    if not kept:
        return ""
    number, way = plural(len(kept) - 1, "challenge"), "down" if sign > 0 else "up"
    return (
        f"a loop that trains once and keeps each new best would have kept {number}, {way} to "
        f"{real_minus(decimals(kept[-1][1]))}"
    )
