"""Override strings against hand-written distributions; values against Hydra's own parser."""

from __future__ import annotations

import math
from typing import Any

import hydra
import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from sweepmore.compose.overrides import override_text
from sweepmore.compose.space import Parameter, Space
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError


def one(text: str) -> Parameter:
    (parameter,) = parse_space([text]).parameters
    return parameter


def read(text: str) -> Any:
    """The value as Hydra's parser sees it."""
    return OverridesParser.create().parse_override(text).value()


def typed(value: Any) -> str:
    """Tells 1, 1.0 and True apart, nested too; shows every digit."""
    return repr(value)


def categorical(*choices: Any) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


# Hydra 1.4 computes ranges in decimals, casts each member of one, and sorts it as its members are.
HYDRA14 = not hydra.__version__.startswith("1.3.")
OF_THIS_HYDRA: list[tuple[str, BaseDistribution, BaseDistribution]] = [
    ("x=sort(range(5, 0, -2))", IntDistribution(2, 6, step=2), IntDistribution(1, 5, step=2)),
    (
        "x=range(0, 0.4, 0.1)",
        FloatDistribution(0, 0.4, step=0.1),
        FloatDistribution(0, 0.3, step=0.1),
    ),
    (
        "x=range(1, 0.7, -0.1)",
        FloatDistribution(0.7, 1, step=0.1),
        FloatDistribution(0.8, 1, step=0.1),
    ),
    # Optuna would end before the last member of 1.3
    (
        "x=range(0, 1, 0.3)",
        categorical(0.0, 0.3, 0.6, 0.8999999999999999),
        FloatDistribution(0, 0.9, step=0.3),
    ),
]
DISTRIBUTIONS: list[tuple[str, BaseDistribution]] = [
    *((text, new if HYDRA14 else old) for text, old, new in OF_THIS_HYDRA),
    ("x=interval(0, 1)", FloatDistribution(0, 1)),
    ("x=interval(1, 10)", FloatDistribution(1, 10)),
    ("x=tag(log, interval(1e-3, 1))", FloatDistribution(1e-3, 1, log=True)),
    ("x=int(interval(1, 10))", IntDistribution(1, 10)),
    ("x=tag(log, int(interval(1, 1024)))", IntDistribution(1, 1024, log=True)),
    ("x=int(tag(log, interval(1, 1024)))", IntDistribution(1, 1024, log=True)),
    ("x=float(int(interval(1.7, 10.2)))", FloatDistribution(1, 10)),
    ("x=range(3)", IntDistribution(0, 2)),
    ("x=range(1, 4)", IntDistribution(1, 3)),
    ("x=range(100, 301, 100)", IntDistribution(100, 300, step=100)),
    ("x=range(1, 10, 4)", IntDistribution(1, 9, step=4)),
    ("x=range(1, 9, 4)", IntDistribution(1, 5, step=4)),
    ("x=range(5, 0, -2)", IntDistribution(1, 5, step=2)),
    ("x=range(7, 8, 3)", IntDistribution(7, 7, step=3)),
    ("x=shuffle(range(1, 4))", categorical(1, 2, 3)),  # as the stock plugin documents it
    ("x=shuffle(range(0, 0.75, 0.25))", categorical(0.0, 0.25, 0.5)),
    ("x=range(0, 1, 0.25)", FloatDistribution(0, 0.75, step=0.25)),
    ("x=range(1, 0, -0.25)", FloatDistribution(0.25, 1, step=0.25)),
    ("x=float(range(1, 4))", FloatDistribution(1, 3, step=1)),
    ("x=range(0, 0.5, 0.1)", FloatDistribution(0, 0.4, step=0.1)),  # 3 * 0.1 > 0.3 in floats
    ("x=range(0.1, 0.5, 0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
    ("x=range(0, 1, 0.1)", FloatDistribution(0, 0.9, step=0.1)),
    ("x=int(range(1.5, 4.5))", IntDistribution(1, 3)),
    ("x=2,10", categorical(2, 10)),
    ("x=choice(sgd,adamw)", categorical("sgd", "adamw")),
    ("x=choice(a)", categorical("a")),
    ("x=null,1e-5,true,a", categorical(None, 1e-5, True, "a")),
    ("x=0.1,inf", categorical(0.1, math.inf)),
    ("x='10',11", categorical("10", 11)),
    ("x=int('1',2.7)", categorical(1, 2)),
    ("x=float(1,2)", categorical(1.0, 2.0)),
    ("x=str(choice(1,true))", categorical("1", "true")),
    ("x=bool(choice(0,1))", categorical(False, True)),
    ("x=sort(3,1,2)", categorical(1, 2, 3)),
    ("x=sort(choice(3,1,2),reverse=true)", categorical(3, 2, 1)),
    ("x=shuffle(choice(a,b,c))", categorical("a", "b", "c")),  # the order written
    ("x=[1,2],[3]", categorical("[1,2]", "[3]")),
    ("x={a:1},b", categorical("{a:1}", "b")),
    ("x=1,1.0,true", categorical("1", "1.0", "true")),
    ("x=1,true,'1'", categorical("1", "true", "'1'")),
    ("x=0.0,-0.0", categorical("0.0", "-0.0")),
]


@pytest.mark.parametrize(("text", "expected"), DISTRIBUTIONS)
def test_an_override_becomes_this_distribution(text: str, expected: BaseDistribution) -> None:
    distribution = one(text).distribution
    assert distribution == expected
    assert repr(distribution) == repr(expected)  # == takes 1 and True for one
    assert json_to_distribution(distribution_to_json(distribution)) == expected


@pytest.mark.parametrize("text", [text for text, _ in DISTRIBUTIONS if "interval" not in text])
def test_every_member_is_read_back_by_hydra_as_hydra_enumerates_it(text: str) -> None:
    override = OverridesParser.create().parse_override(text)
    hydras = [getattr(item, "text", item) for item in override.sweep_iterator()]
    parameter = one(text)
    assert parameter.members is not None
    ours = [read(parameter.override(member)) for member in parameter.members]
    assert sorted(map(typed, ours)) == sorted(map(typed, hydras))
    if "shuffle" not in text:
        assert list(map(typed, ours)) == list(map(typed, hydras))


def test_what_a_storage_gives_back_is_still_a_member() -> None:
    space = parse_space(
        [text.replace("x=", f"p{i}=", 1) for i, (text, _) in enumerate(DISTRIBUTIONS)]
    )
    study = optuna.create_study(storage="sqlite://", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        study.tell(study.ask(space.searched), 0.0)
    for params in (trial.params for trial in study.trials):
        assert len(space.overrides(params)) == len(DISTRIBUTIONS)
        for parameter in space.parameters:
            if parameter.members is not None:
                members = map(parameter.override, parameter.members)
                assert parameter.override(params[parameter.name]) in members


NASTY: list[Any] = [
    *(None, True, False, 0, -7, 10**40, 1.0, -0.0, 1e-05, 0.1 + 0.2, 1e16, 5e-324, 1.7e308),
    *(math.inf, -math.inf, math.nan),
    *("", " ", "a", "10", "1e3", "1_000", "null", "NULL", "true", "False", "nan", "Inf", "-", ".5"),
    *("a b", " a", "a ", "a,b", "a=b", "a:b", "(a)", "[a]", "{a}", "{a:1}", "a/b", "a.b-c", "a@b"),
    *(
        "it's",
        'say "hi"',
        "'",
        '"',
        "''",
        "\\",
        "\\\\",
        "a\\",
        "\\'",
        "\\\\'",
        "'\\",
        'a\\"b',
        "\\,",
    ),
    *(
        "$HOME",
        "${a}",
        "${a.b}",
        "\\${a}",
        "x${a}y",
        "$",
        "%",
        "é",
        "名前",
        "🙂",
        "\t",
        "a\nb",
        "\x00",
    ),
    *(
        "range(1,3)",
        "choice(a,b)",
        "interval(0,1)",
        "glob(*)",
        "int(1)",
        "?",
        "???",
        "*",
        "~a",
        "+a",
    ),
    *([], [1, 2.0, "2", None, [True]], ["a,b", "it's"], {}, {"a": 1}, {"a": {"b": [1, "x y"]}}),
    *({"a b": 1, 2: "c", 1.5: None, True: "d"}, {"a": "}"}),
]


@pytest.mark.parametrize("value", NASTY, ids=repr)
def test_a_nasty_value_survives_as_a_choice(value: Any) -> None:
    (parameter,) = parse_space([], {"k.x": [value, "another"]}).parameters
    assert parameter.members is not None
    assert typed(read(parameter.override(parameter.members[0]))) == typed(value)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
awkward = st.text(alphabet="ab1.,:=()[]{}'\"\\$ \t\n-+~@/?*|%#é")
values = st.recursive(
    plain | awkward,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_ ]{0,4}[a-z]", fullmatch=True), inner)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300)
@given(values)
def test_hydra_reads_back_exactly_what_was_written(value: Any) -> None:
    assert typed(read(f"x={override_text(value)}")) == typed(value)


@settings(deadline=None, max_examples=100)
@given(st.lists(values, min_size=1, max_size=4, unique_by=repr))
def test_any_choice_keeps_its_members_apart(choices: list[Any]) -> None:
    (parameter,) = parse_space([], {"x": choices}).parameters
    assert parameter.members is not None
    assert [typed(read(parameter.override(m))) for m in parameter.members] == [
        typed(choice) for choice in choices
    ]
    assert isinstance(parameter.distribution, CategoricalDistribution)
    internal = [parameter.distribution.to_internal_repr(m) for m in parameter.members]
    assert internal == list(range(len(choices)))


FLOAT_RANGES = (
    st.integers(-20, 20),
    st.integers(1, 40),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 1e-3, 1 / 3]),
)


@settings(deadline=None, max_examples=200)
@given(*FLOAT_RANGES)
def test_every_point_of_a_float_range_is_hydras_member_to_the_digit(
    low: int, n: int, step: float
) -> None:
    text = f"x=range({low / 4},{low / 4 + n * step},{step})"
    parameter, hydras = one(text), list(read(text).range())
    expected = [f"x={member!r}" for member in hydras]
    assert parameter.members == tuple(hydras)
    assert [parameter.override(member) for member in hydras] == expected
    distribution = parameter.distribution
    if isinstance(distribution, FloatDistribution):
        assert (distribution.low, distribution.high) == (hydras[0], hydras[-1])
        assert all(distribution._contains(member) for member in hydras)
        floats = [distribution.low + k * step for k in range(n)]
        assert [parameter.override(value) for value in floats] == expected[:n]
    else:
        assert distribution == CategoricalDistribution(hydras)
        with pytest.warns(UserWarning, match="not divisible"):  # so Optuna would move its end
            FloatDistribution(hydras[0], hydras[-1], step=step)


@settings(deadline=None, max_examples=50)
@given(*FLOAT_RANGES)
def test_what_samplers_propose_in_a_float_range_is_hydras_member(
    low: int, n: int, step: float
) -> None:
    text = f"x=range({low / 4},{low / 4 + n * step},{step})"
    parameter = one(text)
    expected = {f"x={member!r}" for member in read(text).range()}
    samplers = [
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.TPESampler(n_startup_trials=2, seed=0),
        optuna.samplers.CmaEsSampler(seed=0),
    ]
    for sampler in samplers:
        study = optuna.create_study(sampler=sampler)
        for number in range(5):
            trial = study.ask({"x": parameter.distribution})
            assert parameter.override(trial.params["x"]) in expected
            study.tell(trial, float(number))


def test_values_become_typed_overrides() -> None:
    space = parse_space(
        [
            "lr=tag(log, interval(1e-6, 1))",
            "n=range(1,9)",
            "+f=interval(0,2)",
            "++o=a,'1'",
            "p=1,2.0",
        ]
    )
    values = {"lr": 1e-05, "n": 3, "f": 1, "o": "1", "p": 2.0}
    assert space.overrides(values) == ["lr=1e-05", "n=3", "+f=1.0", "++o='1'", "p=2.0"]


def test_keys_keep_prefix_and_package() -> None:
    space = parse_space(
        ["+a.b=1,2", "++c=1,2", "db@backup=mysql,pg", "~gone", "+new=3", "$x.y=1,2"]
    )
    assert list(space.searched) == ["a.b", "c", "db@backup", "$x.y"]
    assert space.fixed == ("~gone", "+new=3")
    point = {"a.b": 1, "c": 2, "db@backup": "pg", "$x.y": 1}
    assert space.overrides(point) == ["+a.b=1", "++c=2", "db@backup=pg", "$x.y=1"]


def test_fixed_overrides_pass_as_they_are() -> None:
    written = ["data=names", "+x='a b'", "~y", "~z=1", "empty=", "l=[1, 2]", "i=${oc.env:HOME}"]
    assert parse_space(written).fixed == tuple(written)


def test_nothing_searched_is_one_empty_point() -> None:
    space = parse_space(["data=names"])
    assert space.searched == {}
    assert space.is_discrete
    assert space.size == 1
    assert list(space.grid()) == [{}]
    assert space.overrides({}) == []


class TestParams:
    """``hydra.sweeper.params``: grammar, lists, fixed values; the command line wins."""

    def test_strings_lists_and_fixed_values(self) -> None:
        params = {
            "a": "range(1,4)",
            "b": [1, "2", None, "x,y"],
            "c": 3,
            "d": "v",
            "e": None,
            "f": [7],
        }
        space = parse_space([], params)
        assert space.searched == {
            "a": IntDistribution(1, 3),
            "b": categorical(1, "2", None, "x,y"),
            "f": categorical(7),
        }
        assert space.fixed == ("c=3", "d=v", "e=null")

    def test_nodes_of_omegaconf(self) -> None:
        params = OmegaConf.create({"a": [1, [2, 3]], "b": 0.5})
        space = parse_space([], params)
        assert space.searched == {"a": categorical("1", "[2,3]")}
        assert space.fixed == ("b=0.5",)

    @pytest.mark.parametrize(
        ("argument", "searched", "fixed"),
        [
            ("a=5", {"z": categorical(1, 2)}, ("a=5",)),
            ("+a=7,8", {"z": categorical(1, 2), "a": categorical(7, 8)}, ()),
            ("~a", {"z": categorical(1, 2)}, ("~a",)),
        ],
    )
    def test_the_command_line_wins(
        self, argument: str, searched: dict[str, Any], fixed: tuple[str, ...]
    ) -> None:
        space = parse_space([argument], {"a": "1,2", "z": "1,2"})
        assert (space.searched, space.fixed) == (searched, fixed)
        assert list(space.searched) == list(searched)


class TestGrid:
    @pytest.mark.parametrize(
        ("texts", "points"),
        [
            (["a=1,2", "b=x,y"], [(1, "x"), (1, "y"), (2, "x"), (2, "y")]),
            (["b=x,y", "a=1,2"], [("x", 1), ("x", 2), ("y", 1), ("y", 2)]),
            (["a=range(3,0,-1)"], [(3,), (2,), (1,)]),
            (["a=int(interval(1,3))"], [(1,), (2,), (3,)]),
            (["a=range(1,0,-0.5)", "c=5"], [(1.0,), (0.5,)]),
            (["a=[1],[2]"], [("[1]",), ("[2]",)]),
        ],
    )
    def test_the_last_key_moves_fastest(self, texts: list[str], points: list[Any]) -> None:
        space = parse_space(texts)
        assert [tuple(point.values()) for point in space.grid()] == points
        assert all(list(point) == list(space.searched) for point in space.grid())
        assert space.is_discrete
        assert space.size == len(points)

    def test_a_shuffle_is_a_permutation_and_the_same_each_time(self) -> None:
        first = parse_space(["a=shuffle(range(1,40))"])
        assert first == parse_space(["a=shuffle(range(1,40))"])
        order = [point["a"] for point in first.grid()]
        assert order != list(range(1, 40))
        assert sorted(map(int, map(str, order))) == list(range(1, 40))
        (choice,) = parse_space(["b=shuffle(p,q,r,s,t,u)"]).parameters
        assert choice.members != ("p", "q", "r", "s", "t", "u")
        assert set(choice.members or ()) == {"p", "q", "r", "s", "t", "u"}

    def test_a_large_grid_is_not_built(self) -> None:
        assert parse_space(["a=range(0,1000000000)", "b=range(0,1000)"]).size == 10**12

    def test_every_point_can_be_enqueued_and_comes_back(self) -> None:
        space = parse_space(["a=1,1.0,true", "b=range(0,0.5,0.1)", "c=[1],{a: b}"])
        study = optuna.create_study(storage="sqlite://")
        for point in space.grid():
            study.enqueue_trial(point)
        for point in space.grid():
            params = study.ask(space.searched).params
            assert space.overrides(params) == space.overrides(point)
        assert len(study.trials) == space.size == 3 * 5 * 2


class TestGlob:
    def test_options_in_the_order_offered(self) -> None:
        def options(group: str) -> list[str]:
            return {"model": ["mlp", "mlp_deep", "wavenet"]}[group]

        space = parse_space(
            ["model=glob(*)", "model@teacher=glob([m*, w*], exclude=*_deep)"], {}, options
        )
        assert space.searched == {
            "model": categorical("mlp", "mlp_deep", "wavenet"),
            "model@teacher": categorical("mlp", "wavenet"),
        }

    def test_no_match(self) -> None:
        with pytest.raises(
            ConfigError, match=r"model=glob\(x\*\): no option of model matches"
        ) as e:
            parse_space(["model=glob(x*)"], {}, lambda group: ["mlp", "wavenet"])
        assert e.value.cure == "model offers: mlp, wavenet."
        with pytest.raises(ConfigError, match="nothing, it is no config group"):
            parse_space(["model=glob(*)"])


REFUSED: list[tuple[str, str]] = [
    ("x=range(3,3)", "x=range(3,3): the range is empty."),
    ("x=range(3,5,-1)", "x=range(3,5,-1): the range is empty."),
    ("x=range(1.0,0.5,0.1)", "x=range(1.0,0.5,0.1): the range is empty."),
    ("x=range(1,5,0)", "x=range(1,5,0): start 1, stop 5, step 0 make no finite range."),
    (
        "x=int(range(1,3,0.5))",
        "x=int(range(1,3,0.5)): 1, 2 appears twice."
        if HYDRA14
        else "x=int(range(1,3,0.5)): start 1, stop 3, step 0 make no finite range.",
    ),
    ("x=range(1,inf)", "x=range(1,inf): start 1, stop inf, step 1 make no finite range."),
    ("x=range(nan,1)", "x=range(nan,1): start nan, stop 1, step 1 make no finite range."),
    ("x=range(0,1,1e-9)", "x=range(0,1,1e-9): 1000000000 members are more than 100000."),
    (
        "x=shuffle(range(0,1000000))",
        "x=shuffle(range(0,1000000)): 1000000 members are more than 100000.",
    ),
    (
        "x=range(0,9007199254740994)",
        "x=range(0,9007199254740994): integers beyond 2**53 = 9007199254740992 are not exact in"
        " Optuna.",
    ),
    ("x=interval(2,1)", "x=interval(2,1): the lower bound 2.0 is not below the upper bound 1.0."),
    ("x=interval(1,1)", "x=interval(1,1): the lower bound 1.0 is not below the upper bound 1.0."),
    (
        "x=int(interval(0.2,0.9))",
        "x=int(interval(0.2,0.9)): the lower bound 0 is not below the upper bound 0.",
    ),
    ("x=interval(nan,1)", "x=interval(nan,1): from nan to 1.0 is not finite."),
    ("x=interval(0,inf)", "x=interval(0,inf): from 0.0 to inf is not finite."),
    (
        "x=tag(log,interval(0,1))",
        "x=tag(log,interval(0,1)): a log scale starts above 0, not at 0.0.",
    ),
    (
        "x=tag(log,choice(1,2))",
        "x=tag(log,choice(1,2)): log is the scale of an interval, not of a list of values.",
    ),
    (
        "x=tag(log,range(1,9))",
        "x=tag(log,range(1,9)): log is the scale of an interval, not of a list of values.",
    ),
    ("x=tag(lgo,interval(1,2))", "x=tag(lgo,interval(1,2)): unknown tag lgo."),
    ("x=1,2,1", "x=1,2,1: 1 appears twice."),
    ("x=a,'a'", "x=a,'a': a appears twice."),
    (
        "x=1,range(2,4)",
        "x=1,range(2,4): a range or an interval cannot be one of several values.",
    ),
    (
        "x=choice()",
        "Hydra cannot read the override x=choice(): ValueError while evaluating 'choice()': empty"
        " choice is not legal.",
    ),
    ("x", "Hydra cannot read the override x: missing EQUAL at '<EOF>'."),
    ("x=[1", "Hydra cannot read the override x=[1: no viable alternative at input '[1'."),
    (
        "x=chioce(1,2)",
        "Hydra cannot read the override x=chioce(1,2): HydraException while evaluating"
        " 'chioce(1,2)': Unknown function 'chioce'.",
    ),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_refused_with_this_message(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as e:
        parse_space([text])
    assert e.value.problem == problem
    assert e.value.cure.endswith((".", "?"))
    assert e.value.value is not None


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"x": []}, "x=[]: nothing to choose from."),
        ({"x": [1, 1]}, "x=[1, 1]: 1 appears twice."),
        ({"x": {"y": "1,2"}}, "params.x is a mapping: {'y': '1,2'}."),
        ({"x": 1, "+x": 2}, "x is given 2 times: x=1 and +x=2."),
        ({"x": [{"'": 1}]}, '"\'" cannot be the key of a dict in an override.'),
        ({"x": [{"10": 1}]}, "'10' cannot be the key of a dict in an override."),
        ({"x": 1 + 2j}, "(1+2j) is a complex, which has no form in an override."),
    ],
)
def test_refused_params(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as e:
        parse_space([], params)
    assert e.value.problem == problem


def test_a_key_twice_on_the_command_line() -> None:
    with pytest.raises(ConfigError) as e:
        parse_space(["a.x=1,2", "y=1", "++a.x=3"])
    assert e.value.problem == "a.x is given 2 times: a.x=1,2 and ++a.x=3."
    assert e.value.cure == "Keep one; to search over both, write a.x=a,b."


def test_a_group_may_be_taken_out_and_put_back() -> None:
    assert parse_space(["~db", "+db=mysql,pg"]) == Space(
        (Parameter("+db", categorical("mysql", "pg"), ("mysql", "pg")),), ("~db",)
    )


def test_an_interval_has_no_grid() -> None:
    space = parse_space(["lr=interval(0,1)", "n=1,2"])
    assert not space.is_discrete
    for ask in (space.grid, lambda: space.size):
        with pytest.raises(ConfigError, match="An interval of floats has no grid: lr"):
            ask()


class TestGridOnce:
    """No point twice, whoever tried it, and by whatever number of processes."""

    SPACE = parse_space(["x=range(0,1,0.25)", "y=true,1,1.0", "z=a,null"])

    def test_what_was_tried_is_left_out(self) -> None:
        points: list[dict[str, Any]] = list(self.SPACE.grid())
        assert list(self.SPACE.untried([], [])) == points
        assert list(self.SPACE.untried([], points)) == []
        tried = [points[5], {**points[7], "x": points[7]["x"] + 1e-12}, {"x": 0.0}]
        left = [point for k, point in enumerate(points) if k not in (5, 7)]
        assert list(self.SPACE.untried([], tried)) == left

    def test_first_ones_come_first_and_once(self) -> None:
        points = list(self.SPACE.grid())
        first = [points[9], points[2]]
        found = list(self.SPACE.untried(first, [points[2], points[4]]))
        rest = [point for k, point in enumerate(points) if k not in (9, 2, 4)]
        assert found == [points[9], *rest]

    def test_what_a_point_leaves_open_differs_from_those_before(self) -> None:
        space = parse_space(["x=1,2", "y=1.0,2.0"])
        found = list(space.completed([{"y": 2.0}, {"x": 1}, {"x": 1}, {"y": 2.0}, {"y": 2.0}]))
        assert found == [{"x": 1, "y": 2.0}, {"x": 1, "y": 1.0}, {"x": 2, "y": 2.0}]
