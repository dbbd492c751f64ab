"""The command: what it answers, what it refuses, and that a mistake is one line that says what would be right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import catalogue
from analysis.catalogue import names_in, questions
from analysis.command import main as cli
from analysis.data.columns import DATASETS, load_column

ROOT = Path(__file__).parents[2]
QUESTION = "mode_covering_vs_seeking"


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; a second one, or any other text, is an error."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


Duality = Callable[..., Answer]


def command(*arguments: str, timeout: float = 120) -> Answer:
    """Run the command as its user does."""
    done = subprocess.run(
        [sys.executable, "-m", "analysis", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def duality(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Duality:
    """Run the command in this process, where PyMC is imported once; it may not change this process's warnings."""
    monkeypatch.setattr(cli, "quieten", lambda: None)

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return Answer(int(stop.value.code or 0), captured.out, captured.err)

    return run


def check_refused(answer: Answer, words: Sequence[str]) -> None:
    """Exit 2 and one line on stderr that names the value and the remedy."""
    assert answer.status == 2, answer
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.endswith("\n")
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err, answer.err


# --- wrong input -----------------------------------------------------------------------------------------------------

REVERSE = ("--onto", "normal", "--direction", "reverse")


def mixture(weights: str = "[0.5, 0.5]", means: str = "[-3, 3]", sds: str = "[1, 1]") -> str:
    return f'{{"weights": {weights}, "means": {means}, "sds": {sds}}}'


#: What is wrong: the command, and words of the answer: the value, then the remedy. ``{tmp}`` is a folder that holds a
#: regular file ``file``, a truncated ``bad.json``, a JSON ``list.json`` and nothing else.
WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown command": (("reprot",), ("'reprot'", "Did you mean 'report'", "--help")),
    "unknown option": (("report", "--outptu", "x"), ("--outptu", "--output", "--help")),
    "missing argument": (("divergence", "bimodal"), ("'q'", "--help")),
    "missing option": (("project", "bimodal", "--onto", "normal"), ("--direction", "--help")),
    "unknown target": (("project", "bimodl", *REVERSE), ("target 'bimodl'", "did you mean bimodal", "Known:")),
    "unknown data set": (
        ("divergence", "bimodal", "old_faithful_wating"),
        ("target 'old_faithful_wating'", "did you mean old_faithful_waiting"),
    ),
    "unknown family": (
        ("project", "bimodal", "--onto", "nomal", "--direction", "reverse"),
        ("family 'nomal'", "did you mean normal", "Known:"),
    ),
    "alpha without its direction": (
        ("project", "bimodal", *REVERSE, "--alpha", "0.5"),
        ("--alpha belongs to --direction alpha", "reverse"),
    ),
    "direction without its alpha": (
        ("project", "bimodal", "--onto", "normal", "--direction", "alpha"),
        ("needs --alpha A", "between 0"),
    ),
    "alpha out of range": (
        ("project", "bimodal", "--onto", "normal", "--direction", "alpha", "--alpha", "1.2"),
        ("--alpha is 1.2", "strictly between 0"),
    ),
    "unknown direction": (
        ("project", "bimodal", "--onto", "normal", "--direction", "revers"),
        ("direction 'revers'", "did you mean reverse"),
    ),
    "unknown question to run": (
        ("run", "mode_covering_vs_seking", "--quick"),
        ("question 'mode_covering_vs_seking'", f"did you mean {QUESTION}"),
    ),
    "unknown question to report": (("report", "--only", "mode"), ("question 'mode'", "Known: ")),
    "unknown question to plot": (("plot", "mode_covering"), ("question 'mode_covering'", f"did you mean {QUESTION}")),
    "unknown format": (("report", "--format", "md,hmtl"), ("format 'hmtl'", "did you mean html", "Known:")),
    "quick and full": (("report", "--quick", "--full"), ("--quick", "--full", "give one")),
    "negative seed": (("run", QUESTION, "--seed", "-1"), ("--seed", "greater than or equal to 0")),
    "seed beyond what generators take": (
        ("model", "x.py", "--seed", "9" * 20),
        ("--seed", "less than or equal to 4294967295"),
    ),
    "seed of words": (("run", QUESTION, "--seed", "one"), ("--seed", "integer")),
    "no jobs": (("run", QUESTION, "--jobs", "0"), ("--jobs", "greater than or equal to 1")),
    "output without a name": (("report", "--quick", "--output", ""), ("--output", "empty")),
    "figures' folder without a name": (("plot", QUESTION, "--save", ""), ("--save", "empty")),
    "model's output without a name": (("model", "x.py", "--output", " "), ("--output", "empty")),
    "data's output without a name": (("data", "x.csv", "--output", ""), ("--output", "empty")),
    "output below a file": (
        ("report", "--quick", "--output", "{tmp}/file/below"),
        ("file/below", "cannot be written", "--output"),
    ),
    "weights": (
        ("project", mixture(weights="[0.5, 0.6]"), *REVERSE),
        ("weights sum to 1.1", "must sum to 1"),
    ),
    "negative weight": (
        ("divergence", mixture(weights="[1.5, -0.5]"), "bimodal"),
        ("weights[1] is -0.5", "must be positive"),
    ),
    "sd of zero": (("divergence", "bimodal", mixture(sds="[1, 0]")), ("sds[1] is 0", "must be positive")),
    "negative sd": (("divergence", "bimodal", mixture(sds="[-2, 1]")), ("sds[0] is -2", "must be positive")),
    "covariance": (
        ("divergence", '{"weights": [1], "means": [[0, 0]], "covs": [[[1, 2], [2, 1]]]}', "crossed"),
        ("covs[0]", "not positive definite", "eigenvalue -1", "must be positive"),
    ),
    "asymmetric covariance": (
        ("divergence", '{"weights": [1], "means": [[0, 0]], "covs": [[[1, 0.2], [0.1, 1]]]}', "crossed"),
        ("covs[0]", "not symmetric"),
    ),
    "lengths": (
        ("divergence", mixture(means="[0, 1, 2]"), "bimodal"),
        ("means has length 3", "weights has length 2", "make them equal"),
    ),
    "NaN": (("divergence", mixture(means="[0, NaN]"), "bimodal"), ("means[1] is nan", "must be finite")),
    "Infinity": (("divergence", mixture(sds="[1, Infinity]"), "bimodal"), ("sds[1] is inf", "must be finite")),
    "text for a number": (("divergence", mixture(means='["a", 1]'), "bimodal"), ("means", "'a'", "numbers")),
    "unknown keys": (("divergence", '{"weights": [1], "mean": [0]}', "bimodal"), ("mean", "must be one of", "sds")),
    "unfinished JSON": (
        ("divergence", '{"weights": [0.5,', "bimodal"),
        ("inline target is not JSON", "line 1", "write for example"),
    ),
    "inline JSON list": (("divergence", "[1, 2]", "bimodal"), ("inline target", "list", "must be an object")),
    "unfinished JSON file": (
        ("divergence", "bimodal", "{tmp}/bad.json"),
        ("bad.json", "is not JSON", "line 1", "write for example"),
    ),
    "JSON file of a list": (("divergence", "bimodal", "{tmp}/list.json"), ("list.json", "list", "must be an object")),
    "twice in JSON": (
        ("divergence", '{"weights": [1], "means": [0], "means": [1], "sds": [1]}', "bimodal"),
        ("inline target", "'means' more than once", "give every name one value"),
    ),
    "true in JSON": (
        ("divergence", '{"weights": [1], "means": [true], "sds": [1]}', "bimodal"),
        ("'means' of inline target", "true or false", "give numbers"),
    ),
    "missing JSON file": (("divergence", "bimodal", "{tmp}/missing.json"), ("missing.json", "cannot be read", "give")),
    "dimensions": (
        ("divergence", "bimodal", "crossed"),
        ("'bimodal' has dimension 1", "'crossed' has dimension 2", "make them equal"),
    ),
}


#: Asked for as a process of its own: one of each kind of mistake.
AS_PROCESS = ("unknown command", "output below a file", "dimensions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that a command is given: a regular one, truncated JSON, and JSON of another kind."""
    tmp = tmp_path_factory.mktemp("wrong")
    (tmp / "file").write_text("")
    (tmp / "bad.json").write_text('{"weights": [0.5')
    (tmp / "list.json").write_text("[1, 2]")
    return tmp


def wrong(what: str, folder: Path) -> list[str]:
    return [a.replace("{tmp}", str(folder)) for a in WRONG[what][0]]


@pytest.fixture(scope="module")
def refusals(folder: Path) -> dict[str, Answer]:
    """Answers to the commands of ``AS_PROCESS``, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda what: command(*wrong(what, folder)), AS_PROCESS)
        return dict(zip(AS_PROCESS, answers, strict=True))


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line_that_names_the_value_and_the_remedy(what: str, folder: Path, duality: Duality) -> None:
    check_refused(duality(*wrong(what, folder)), WRONG[what][1])


@pytest.mark.parametrize("what", AS_PROCESS)
def test_wrong_input_of_a_process(what: str, refusals: dict[str, Answer]) -> None:
    check_refused(refusals[what], WRONG[what][1])


#: Mistakes that show only when PyMC has been imported.
WRONG_LATER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "reverse from draws": (
        ("project", "old_faithful_waiting", *REVERSE),
        ("'old_faithful_waiting'", "draws only", "forward"),
    ),
    "divergence from draws": (
        ("divergence", "old_faithful_waiting", "bimodal"),
        ("old_faithful_waiting", "draws only"),
    ),
    "forward onto another dimension": (
        ("project", "crossed", "--onto", "normal", "--direction", "forward"),
        ("'normal' has dimension 1", "'crossed' has dimension 2"),
    ),
    "reverse onto another dimension": (
        ("project", "crossed", *REVERSE),
        ("'normal' has dimension 1", "'crossed' has dimension 2"),
    ),
    "unknown distribution": (
        ("divergence", '{"distribution": "StudentTt", "params": {"nu": 4}}', "bimodal"),
        ("'StudentTt'", "StudentT"),
    ),
    "wrong parameter of a distribution": (
        ("divergence", '{"distribution": "Normal", "params": {"mu": 0, "sigma": -1}}', "bimodal"),
        ("sigma", "-1"),
    ),
    "unknown backend": (
        ("plot", QUESTION, "--backend", "matplotlb"),
        ("backend 'matplotlb'", "did you mean matplotlib"),
    ),
    "unknown theme": (("plot", QUESTION, "--theme", "drak"), ("theme 'drak'", "did you mean dark")),
}


@pytest.mark.parametrize("what", WRONG_LATER)
def test_wrong_input_found_after_import(what: str, duality: Duality) -> None:
    arguments, words = WRONG_LATER[what]
    check_refused(duality(*arguments), words)


@pytest.mark.parametrize(
    "mistake",
    [("--format", "docx"), ("--quick", "--full"), ("--only", "nothing"), ("--seed", "-3")],
    ids=" ".join,
)
def test_a_mistake_leaves_earlier_output_as_it_was(mistake: tuple[str, ...], tmp_path: Path, duality: Duality) -> None:
    (tmp_path / "results").mkdir()
    earlier = {"report.html": "<html>", "report.md": "# Report", f"results/{QUESTION}.nc": "CDF"}
    for name, text in earlier.items():
        (tmp_path / name).write_text(text)
    assert duality("report", "--output", str(tmp_path), *mistake).status == 2
    left = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == earlier


# --- answers ---------------------------------------------------------------------------------------------------------


def test_help_and_mistakes_import_nothing_heavy() -> None:
    script = """if True:
        import json, sys
        from analysis.command.main import main
        heavy = ("pymc", "pytensor", "numpy", "scipy", "arviz", "xarray", "matplotlib")
        loaded = []
        for arguments in (["--help"], ["report", "--help"], ["report", "--format", "doc"], ["project", "x"]):
            try:
                main(arguments)
            except SystemExit as stop:
                loaded.append([stop.code or 0, [name for name in heavy if name in sys.modules]])
        sys.stderr.write("loaded:" + json.dumps(loaded))
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.split("loaded:")[1]) == [[0, []], [0, []], [2, []], [2, []]]
    for name in ("report", "run", "list", "plot", "cache", "project", "divergence", "data"):
        assert f"\n  {name} " in done.stdout


def test_list_names_all_that_other_commands_take(duality: Duality) -> None:
    from models.families import FAMILIES
    from models.targets import TARGETS

    answer = duality("list")
    assert answer.status == 0
    assert answer.err == ""
    for name in (QUESTION, *TARGETS, *FAMILIES, "old_faithful_waiting"):
        assert name in answer.out


def test_list_says_the_same_as_the_catalogues_and_imports_none_of_them() -> None:
    from models.families import FAMILIES
    from models.targets import TARGETS

    assert names_in("models.targets", "TARGETS") == list(TARGETS)
    assert names_in("models.families", "FAMILIES") == list(FAMILIES)
    assert names_in("analysis.data.columns", "DATASETS") == list(DATASETS)
    for name, sentence in questions().items():
        assert sentence == import_module(f"analysis.{name}").QUESTION
    chapters = [import_module(f"analysis.{name}").CHAPTER for name in questions()]
    assert chapters == sorted(chapters)
    script = (
        "import sys\nfrom analysis.command.main import main\ntry:\n    main(['list'])\nexcept SystemExit as stop:\n"
        "    assert not stop.code\n"
        "assert not {'numpy', 'scipy', 'pydantic', 'pymc', 'pytensor'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert QUESTION in done.stdout


def test_a_catalogue_made_in_another_way_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made.py").write_text(
        "KEYS = ('a', 'b')\nCATALOGUE = {key: 1 for key in KEYS}\nOTHER: dict = dict(\n    {'c': {'d': 1}},\n)\n"
    )
    monkeypatch.setattr(catalogue, "_PACKAGE", tmp_path / "package")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert names_in("made", "CATALOGUE") == ["a", "b"]
    assert names_in("made", "OTHER") == ["c"]


def test_the_cache_says_where_it_is_and_is_cleared(
    tmp_path: Path, duality: Duality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user has it, but for the folder."""
    monkeypatch.setenv("DUALITY_CACHE", str(tmp_path))
    place = tmp_path / "0123456789abcdef0123"  # of other sources, say
    place.mkdir()
    (place / "one.graph").write_bytes(b"x" * 1_500_000)
    (place / "two.graph").write_bytes(b"x" * 500_000)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    shown = duality("cache")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == f"2 compiled graphs, 2.0 MB, in {tmp_path}\n"
    assert len(list(place.glob("*.graph"))) == 2
    cleared = duality("cache", "--clear")
    assert cleared.status == 0
    assert cleared.out.startswith(f"2 compiled graphs removed from {tmp_path}")
    assert duality("cache").out == f"0 compiled graphs, 0.0 MB, in {tmp_path}\n"
    assert foreign.read_text() == "mine"


def test_exact_reverse_optima_as_one_json_document() -> None:
    """Reference values of the two equal modes (see reference/), from the command as its user runs it."""
    answer = command("project", "bimodal", *REVERSE, "--json")
    assert answer.status == 0, answer.err
    assert answer.err == ""
    document = answer.document
    assert document["target"] == {"weights": [0.5, 0.5], "means": [-3.0, 3.0], "sds": [1.0, 1.0]}
    assert (document["family"], document["direction"], document["alpha"]) == ("normal", "reverse", None)
    solutions = document["solutions"]
    contract = {"params", "divergence", "error", "status", "gradient_norm", "hessian_eigenvalues"}
    assert all(contract <= set(s) for s in solutions)
    values = [s["divergence"] for s in solutions]
    assert values == sorted(values)
    assert [s["status"] for s in solutions] == ["global minimum"] * 2 + ["local minimum"] + ["saddle"] * 2
    assert values[:3] == pytest.approx([0.688768996, 0.688768996, 0.840621431], abs=1e-9)
    assert [s["params"]["sigma"] for s in solutions[:3]] == pytest.approx(
        [1.02336856, 1.02336856, 2.743769309], abs=1e-8
    )
    assert solutions[0]["params"]["mu"] == pytest.approx(-solutions[1]["params"]["mu"], abs=1e-8)
    assert solutions[2]["params"]["mu"] == pytest.approx(0, abs=1e-8)
    assert all(min(s["hessian_eigenvalues"]) > 0 for s in solutions[:3])
    assert all(min(s["hessian_eigenvalues"]) < 0 for s in solutions[3:])
    assert all(s["gradient_norm"] < 1e-8 and 0 <= s["error"] < 1e-8 for s in solutions)


def test_alpha_optima_as_one_json_document(duality: Duality) -> None:
    answer = duality("project", "bimodal", "--onto", "normal", "--direction", "alpha", "--alpha", "0.25", "--json")
    assert answer.status == 0, answer.err
    document = answer.document
    assert (document["direction"], document["alpha"]) == ("alpha", 0.25)
    # At a = 3 and alpha = 1/4 the broad optimum has become the global one.
    assert document["solutions"][0]["params"]["mu"] == pytest.approx(0, abs=1e-8)
    assert document["solutions"][1]["params"]["mu"] == pytest.approx(-2.9740882946706106, abs=1e-8)
    assert document["solutions"][1]["divergence"] == pytest.approx(0.8412551520453604, abs=1e-9)


@pytest.mark.exhaustive
def test_a_limit_is_written_as_one(duality: Duality) -> None:
    answer = duality("project", "bimodal", "--onto", "student_t", "--direction", "forward", "--json")
    (solution,) = answer.document["solutions"]
    assert (solution["params"]["nu"], solution["limit"]) == ("inf", "nu -> infinity")
    assert solution["params"]["sigma"] == pytest.approx(np.sqrt(10), abs=1e-8)
    said = duality("project", "bimodal", "--onto", "student_t", "--direction", "forward").out
    assert "limit nu -> infinity" in said


def test_forward_from_draws_has_a_cross_entropy_and_no_divergence(duality: Duality) -> None:
    answer = duality("project", "old_faithful_waiting", "--onto", "normal", "--direction", "forward", "--json")
    assert answer.status == 0, answer.err
    (solution,) = answer.document["solutions"]
    x = load_column("old_faithful_waiting")
    assert solution["divergence"] is None
    assert solution["params"]["mu"] == pytest.approx(x.mean(), abs=1e-9)
    assert solution["params"]["sigma"] == pytest.approx(x.std(), abs=1e-9)
    entropy = 0.5 * np.log(2 * np.pi * np.e * x.var())
    assert solution["cross_entropy"]["value"] == pytest.approx(entropy, abs=1e-9)
    assert solution["cross_entropy"]["error"] > 0


def test_divergences_of_two_normals_in_both_directions(duality: Duality) -> None:
    p = '{"weights": [1], "means": [0], "sds": [1]}'
    q = '{"weights": [1], "means": [2], "sds": [3]}'
    answer = duality("divergence", p, q, "--json")
    assert answer.status == 0, answer.err

    def kl(m1: float, s1: float, m2: float, s2: float) -> float:
        return float(np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5)

    def entropy(sd: float) -> float:
        return float(0.5 * np.log(2 * np.pi * np.e * sd**2))

    expected = {
        "kl_pq": kl(0, 1, 2, 3),
        "kl_qp": kl(2, 3, 0, 1),
        "entropy_p": entropy(1),
        "entropy_q": entropy(3),
        "cross_entropy_pq": entropy(1) + kl(0, 1, 2, 3),
        "cross_entropy_qp": entropy(3) + kl(2, 3, 0, 1),
    }
    document = answer.document
    assert list(document) == list(expected)
    for name, value in expected.items():
        assert set(document[name]) >= {"value", "error"}
        assert document[name]["value"] == pytest.approx(value, abs=1e-10), name


def test_an_infinite_divergence_is_valid_json(duality: Duality) -> None:
    cauchy = '{"distribution": "StudentT", "params": {"nu": 1, "mu": 0, "sigma": 1}}'
    answer = duality("divergence", cauchy, "bimodal", "--json")
    assert answer.status == 0, answer.err
    assert answer.document["kl_pq"]["value"] == "inf"
    assert np.isfinite(answer.document["kl_qp"]["value"])


def test_an_infinite_divergence_calls_its_distributions_by_their_letters(duality: Duality) -> None:
    shifted = [
        '{"distribution": "Exponential", "params": {"lam": 1}}',
        '{"distribution": "Normal", "params": {"mu": 0, "sigma": 1}}',
    ]
    lines = duality("divergence", *shifted).out.splitlines()
    why = {line.split()[0]: line.partition(": ")[2] for line in lines}
    assert why["kl_qp"] == "q has mass below 0, where p has none"
    assert why["kl_pq"] == ""
    back = duality("divergence", *reversed(shifted), "--json").document
    assert back["kl_pq"]["reason"] == "p has mass below 0, where q has none"


def test_a_divergence_of_which_the_error_is_a_part_shows_it(duality: Duality) -> None:
    pair = [f'{{"weights": [1], "means": [0], "sds": [{sd}]}}' for sd in (1, 1.0000001)]
    lines = {line.split()[0]: line for line in duality("divergence", *pair).out.splitlines()}
    assert " ± " in lines["kl_pq"].replace("\xa0", " ")
    assert "±" not in lines["entropy_p"]


def test_a_json_file_is_the_same_as_its_text(tmp_path: Path, duality: Duality) -> None:
    text = mixture("[0.3, 0.7]", "[-1, 1]", "[1, 2]")
    (tmp_path / "target.json").write_text(text)
    inline = duality("divergence", text, "bimodal", "--json")
    assert inline.status == 0
    assert duality("divergence", str(tmp_path / "target.json"), "bimodal", "--json") == inline


def test_a_person_reads_the_direction_and_the_numbers(duality: Duality) -> None:
    answer = duality("project", "bimodal", "--onto", "normal", "--direction", "forward")
    assert answer.status == 0
    assert "forward KL, bimodal onto normal" in answer.out
    assert "sigma = 3.16227766" in answer.out
    assert "nats" in answer.out


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    command = f"{sys.executable} -m analysis list | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "questions\n", "")


def environment(**given: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTENSOR_FLAGS", "PYTHONWARNINGS")} | given


@pytest.mark.exhaustive
def test_single_precision_of_the_user_is_not_taken_over(tmp_path: Path) -> None:
    """It was: an infinite KL, and for everyone who read that graph from the store."""
    asked = [sys.executable, "-m", "analysis", "divergence", "bimodal", "student_t", "--json"]
    for flags in ("floatX=float32,cxx=", ""):
        env = environment(PYTENSOR_FLAGS=flags, DUALITY_CACHE=str(tmp_path))
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300, env=env)
        found = json.loads(done.stdout)["kl_pq"]
        assert found["value"] == pytest.approx(1.765001081554, abs=1e-11)
        assert found["error"] < 1e-11


def test_a_store_that_cannot_be_written_is_said_once_and_a_character_no_terminal_has_is_no_failure(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    env = environment(DUALITY_CACHE=str(tmp_path / "file"), PYTHONIOENCODING="latin-1")
    asked = [sys.executable, "-m", "analysis", "divergence", "bimodal", "bimodal"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, encoding="latin-1", timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("duality: compiled graphs cannot be stored") == 1
    assert done.stderr.count("\n") == 1
    assert "10?¹?" in done.stdout


@pytest.mark.parametrize("name", ["index.html", "data.nc", "data.json", "model.nc"])
@pytest.mark.parametrize("what", ["data", "model"])
def test_somebody_elses_file_is_never_replaced_and_refused_before_anything_is_computed(
    duality: Duality, tmp_path: Path, what: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("x\n" + "\n".join(map(str, range(1, 30))))
    (tmp_path / "m.py").write_text("import pymc as pm\nwith pm.Model() as model:\n    pm.Normal('x')\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    study = import_module(f"analysis.own_{what}.study")
    monkeypatch.setattr(study, "analyse", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("computed")))
    given = duality(what, *{"data": ("x.csv",), "model": ("m.py:model",)}[what], "--output", "out")
    assert (tmp_path / "out" / name).read_text() == "mine"
    if name == "index.html" or name.startswith(what):
        assert (given.status, given.err.count("\n")) == (2, 1)
        assert f"'out/{name}' was not written by `duality`" in given.err
    else:
        assert "computed" in given.err
