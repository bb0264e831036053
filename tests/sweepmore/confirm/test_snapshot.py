"""A copy of an application's code: what it copies and links, what runs in it, how it differs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from sweepmore.confirm import snapshot as snapshots
from sweepmore.confirm.snapshot import Snapshot, hashes, import_folders, root_of
from sweepmore.errors import ConfigError
from tests.support.helpers import environment

TREE = {
    "app.py": "import model\nprint(model.SAYS)\n",
    "model.py": "SAYS = 'old'\n",
    "conf/config.yaml": "x: 1\n",
    "conf/deep/more.yaml": "y: 2\n",
    "data/names.txt": "emma\n",
    "notes.md": "a note\n",
    ".hidden/secret.py": "hidden = 1\n",
    "tests/test_app.py": "tests = 1\n",
    "outputs/run/config.yaml": "z: 3\n",
    "node_modules/x/index.json": "{}\n",
    "env/pyvenv.cfg": "home = /usr\n",
    "env/lib/installed.py": "installed = 1\n",
    "conda/conda-meta/history": "",
    "conda/lib/installed.py": "installed = 1\n",
}
CODE = ["app.py", "conf/config.yaml", "conf/deep/more.yaml", "model.py"]


def written(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return written(tmp_path / "root", TREE)


def taken(root: Path, name: str = "copy", skip: Path | None = None) -> Snapshot:
    snapshot = Snapshot(root, root.parent / name, skip)
    snapshot.take()
    return snapshot


def ran(snapshot: Snapshot, *words: str, folder: Path | None = None, **more: str) -> str:
    """What a Python says that is started with these words in the copy."""
    done = subprocess.run(
        [sys.executable, *snapshot.words(words)],
        cwd=folder or snapshot.folder,
        env={**snapshot.environment(), **more},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_git_in_a_copy_leaves_the_index_of_the_original_alone(root: Path) -> None:
    """``git diff`` notes there how it found the files. Those of the copy are others, and the next
    ``git checkout .`` of the original would write each file again."""
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        subprocess.run(git, cwd=root, check=True)
    index = (root / ".git/index").read_bytes()
    copy = taken(root)
    (copy.folder / "app.py").write_text("changed = 1\n")
    shown = subprocess.run(
        ["git", "diff", "HEAD", "--name-only", "--", *CODE],
        cwd=copy.folder, env=copy.environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout == "app.py\n"
    assert (root / ".git/index").read_bytes() == index


class TestTheCopy:
    def test_it_has_code_and_config_files_and_links_the_rest(self, root: Path) -> None:
        copy = taken(root)
        assert sorted(copy.files()) == CODE
        assert all(not (copy.folder / name).is_symlink() for name in CODE)
        linked = {
            str(path.relative_to(copy.folder))
            for path in copy.folder.rglob("*")
            if path.is_symlink() and not path.parent.is_symlink()
        }
        assert linked == {
            ".hidden", "conda", "data", "env", "node_modules", "notes.md", "outputs", "tests",
        }  # fmt: skip
        for name in TREE:
            assert (copy.folder / name).read_bytes() == (root / name).read_bytes()
        assert (copy.folder / "data").resolve() == root / "data"

    def test_what_is_made_later_in_a_linked_folder_is_seen(self, root: Path) -> None:
        copy = taken(root)
        (copy.folder / "outputs" / "made.txt").write_text("made")
        assert (root / "outputs" / "made.txt").read_text() == "made"

    def test_bytecode_is_no_part_of_it(self, root: Path) -> None:
        """Two versions of one second and size: the old one's bytecode would be taken for both."""
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(root)], check=True)
        assert (root / "__pycache__").is_dir()
        copy = taken(root)
        assert not (copy.folder / "__pycache__").exists()
        assert not (copy.folder / "conf" / "__pycache__").exists()

    def test_no_later_edit_reaches_it(self, root: Path) -> None:
        copy = taken(root)
        (root / "model.py").write_text("SAYS = 'new'\n")
        (root / "added.py").write_text("")
        (root / "conf" / "config.yaml").unlink()
        assert ran(copy, "app.py") == "old"
        assert sorted(copy.files()) == CODE
        assert (copy.folder / "conf" / "config.yaml").read_text() == "x: 1\n"
        assert not (copy.folder / "added.py").exists()

    def test_what_runs_in_it_is_no_change(self, root: Path) -> None:
        """Bytecode and records that an application writes beside itself."""
        written(root, {"app.py": "import model\nopen('seen.json', 'w').write('{}')\n"})
        copy, untouched = taken(root), taken(root, "untouched")
        before = copy.digest()
        ran(copy, "app.py", PYTHONDONTWRITEBYTECODE="")
        assert (copy.folder / "__pycache__").is_dir()
        assert (copy.folder / "seen.json").exists()
        assert copy.digest() == before == untouched.digest()
        assert untouched.changed(copy) == ()

    def test_it_is_whole_or_absent(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space"):
            taken(root)
        assert not Snapshot(root, root.parent / "copy").exists
        assert {path.name for path in root.parent.iterdir()} == {"root", snapshots.ORIGIN}

    def test_an_empty_root(self, tmp_path: Path) -> None:
        (tmp_path / "root").mkdir()
        copy = taken(tmp_path / "root")
        assert copy.exists
        assert copy.files() == []


class TestOddRoots:
    def test_symlinks_are_linked_whatever_they_lead_to(self, root: Path) -> None:
        """Also a loop, and one that leads nowhere."""
        (root / "loop").symlink_to(root)
        (root / "self.py").symlink_to("self.py")
        (root / "nowhere.py").symlink_to("/nowhere.py")
        (root / "same.py").symlink_to("model.py")
        copy = taken(root)
        assert sorted(copy.files()) == CODE
        for name in ("loop", "self.py", "nowhere.py", "same.py"):
            assert (copy.folder / name).is_symlink()

    def test_its_own_outputs_hold_earlier_copies(self, root: Path) -> None:
        places = [root / "outputs" / "studies" / "s" / "campaign" / n / "code" for n in "012"]
        copies = [Snapshot(root, place, root / "outputs") for place in places]
        for copy in copies:
            copy.take()
            assert sorted(copy.files()) == CODE
        assert len({copy.digest() for copy in copies}) == 1

    def test_outputs_of_any_name_are_no_sources(self, root: Path) -> None:
        """Else each copy would hold the one before, and no two would be of the same code."""
        places = [root / "results" / "studies" / "s" / n / "code" for n in "012"]
        copies = [Snapshot(root, place, root / "results") for place in places]
        for copy in copies:
            copy.take()
            assert sorted(copy.files()) == CODE
        assert (copies[0].folder / "results").resolve() == root / "results"
        assert len({copy.digest() for copy in copies}) == 1

    def test_a_long_config_file_is_data(self, root: Path) -> None:
        (root / "long.json").write_bytes(b" " * (snapshots.MOST_BYTES + 1))
        (root / "short.json").write_bytes(b" " * snapshots.MOST_BYTES)
        copy = taken(root)
        assert sorted(copy.files()) == sorted([*CODE, "short.json"])
        assert (copy.folder / "long.json").is_symlink()

    def test_too_many_files_are_refused(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshots, "MOST_FILES", len(CODE))
        taken(root)
        (root / "one_more.py").write_text("")
        with pytest.raises(ConfigError, match="has more than 4 files of code") as refused:
            taken(root, "another")
        assert "in the application's folder" in refused.value.cure
        assert not (root.parent / "another").exists()

    def test_names_and_modes_stay(self, root: Path) -> None:
        script = written(root, {"größe, 1.sh": "#!/bin/sh\necho ran\n"}) / "größe, 1.sh"
        script.chmod(0o755)
        copy = taken(root)
        assert subprocess.check_output([copy.folder / script.name], text=True) == "ran\n"


class TestTheRoot:
    def test_it_is_the_checkout(self, root: Path) -> None:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        assert root_of(root / "conf" / "deep") == root

    def test_without_git_it_is_the_folder(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
        assert root_of(root / "conf") == root / "conf"
        monkeypatch.setenv("PATH", "")  # there is no git at all
        assert root_of(root / "conf") == root / "conf"


class TestDifferences:
    def test_the_digest_is_of_names_and_contents(self, root: Path) -> None:
        first = taken(root).digest()
        assert taken(root, "same").digest() == first
        assert len(first) == 8
        written(root, {"notes.md": "another note\n", "data/names.txt": "ava\n"})
        assert taken(root, "data").digest() == first
        written(root, {"model.py": "SAYS = 'new'\n"})
        edited = taken(root, "edited").digest()
        (root / "model.py").rename(root / "renamed.py")
        renamed = taken(root, "renamed").digest()
        assert len({first, edited, renamed}) == 3

    def test_changed_names_edited_new_and_deleted_files(self, root: Path) -> None:
        before = taken(root, "before")
        written(root, {"model.py": "SAYS = 'new'\n", "lib/new.py": "", "data/names.txt": "ava\n"})
        (root / "conf" / "deep" / "more.yaml").unlink()
        after = taken(root, "after")
        names = ("conf/deep/more.yaml", "lib/new.py", "model.py")
        assert after.changed(before) == before.changed(after) == names
        assert after.changed(after) == ()
        assert after.diff(after) == ""

    def test_an_empty_file_differs_from_none(self, root: Path) -> None:
        before = taken(root, "before")
        written(root, {"empty.py": ""})
        assert taken(root, "after").changed(before) == ("empty.py",)

    def test_git_applies_the_diff(self, root: Path) -> None:
        """To the old code it gives the new one: edited, new and deleted files, without a last line
        end, with Windows' line ends and a form feed. No Git is needed to write it."""
        written(root, {"crlf.py": "a\r\nb\r\n", "feed.py": "a\n\x0cb\nc\n", "gone.py": "gone\n"})
        before = taken(root, "before")
        written(
            root,
            {
                "crlf.py": "a\r\nc\r\n",
                "feed.py": "a\n\x0cb\nd\n",
                "lib/new.py": "new\n",
                "model.py": "SAYS = 'größer'\n",
            },
        )
        (root / "gone.py").unlink()
        after = taken(root, "after")
        diff = after.diff(before)
        assert "-SAYS = 'old'\n+SAYS = 'größer'\n" in diff
        assert "--- /dev/null\n+++ b/lib/new.py\n" in diff
        assert "--- a/gone.py\n+++ /dev/null\n" in diff
        (root.parent / "diff.patch").write_bytes(diff.encode())
        words = ["git", "apply", "--whitespace=nowarn", str(root.parent / "diff.patch")]
        subprocess.run(words, cwd=before.folder, check=True, env=environment({"GIT_DIR": "/none"}))
        for name in after.files():
            assert (before.folder / name).read_bytes() == (after.folder / name).read_bytes()
        assert not (before.folder / "gone.py").exists()

    def test_bytes_that_are_no_text_differ_in_the_diff_too(self, root: Path) -> None:
        written(root, {"latin.py": b"# caf\xe9\n"})
        before = taken(root, "before")
        written(root, {"latin.py": b"# caf\xe8\n"})
        diff = taken(root, "after").diff(before)
        assert r"-# caf\xe9" in diff
        assert r"+# caf\xe8" in diff

    def test_a_last_line_end_is_a_difference(self, root: Path) -> None:
        before = taken(root, "before")
        written(root, {"model.py": "SAYS = 'old'"})
        assert taken(root, "after").diff(before).count("SAYS = 'old'") == 2

    def test_hashes_of_evaluators(self, root: Path) -> None:
        """sha256 of "x: 1\\n", as `sha256sum` prints it; a missing file has none."""
        printed = subprocess.check_output(["sha256sum", root / "conf/config.yaml"], text=True)
        assert hashes(taken(root).folder, ["conf/config.yaml", "gone.py"]) == {
            "conf/config.yaml": printed.split()[0],
            "gone.py": "",
        }


class TestAround:
    def test_what_runs_in_a_copy_finds_it(self, root: Path) -> None:
        copy = taken(root, "001/code")
        for folder in (copy.folder, copy.folder / "conf" / "deep"):
            found = Snapshot.around(folder)
            assert found is not None
            assert (found.root, found.folder) == (root, copy.folder)
        assert Snapshot.around(root / "conf") is None
        assert Snapshot.around(copy.folder.parent) is None


class TestCommands:
    def test_absolute_paths_lead_into_the_copy(self, root: Path) -> None:
        copy = taken(root)
        given = [
            "python", "-u", f"{root}/app.py", f"--config-dir={root}/conf", "--config-path",
            f"{root}/conf", f"data.path={root}/data/names.txt", "model.py", "x=1",
        ]  # fmt: skip
        assert copy.words(given) == [
            "python", "-u", f"{copy.folder}/app.py", f"--config-dir={copy.folder}/conf",
            "--config-path", f"{copy.folder}/conf", f"data.path={root}/data/names.txt",
            "model.py", "x=1",
        ]  # fmt: skip

    def test_what_is_linked_or_elsewhere_stays(self, root: Path) -> None:
        copy = taken(root)
        words = [f"{root}/env/bin/python", sys.executable, f"{root}/data/names.txt", "/tmp/x.py"]
        assert copy.words(words) == words

    def test_a_root_that_is_spelled_through_a_link(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(root)
        copy = taken(root)
        assert copy.words([f"{tmp_path}/link/app.py"]) == [f"{copy.folder}/app.py"]
        assert copy.place(tmp_path / "link" / "conf") == copy.folder / "conf"
        assert copy.place(tmp_path) == tmp_path

    def test_a_command_that_names_its_script_absolutely_runs_the_copy(self, root: Path) -> None:
        copy = taken(root)
        (root / "model.py").write_text("SAYS = 'new'\n")
        assert ran(copy, f"{root}/app.py", folder=root) == "old"


class TestImports:
    """A real Python, which a .pth file or a finder of setuptools leads to the original."""

    @pytest.mark.parametrize("layout", ["src", ""], ids=["src", "flat"])
    def test_an_editable_package_is_imported_from_the_copy(
        self, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = written(
            tmp_path / "root",
            {
                str(Path(layout, "package", "__init__.py")): "SAYS = 'old'\n",
                "scripts/train.py": "import package\nprint(package.SAYS)\n",
            },
        )
        folder = str(root / layout)
        installed = written(tmp_path / "installed", {"package.pth": f"{folder}\n"})
        enabled = f"import site; site.addsitedir({str(installed)!r})\n"
        written(tmp_path / "start", {"sitecustomize.py": enabled})
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "start"))
        monkeypatch.setattr(sys, "path", [*sys.path, folder])  # as in this command's own Python
        copy = taken(root)
        written(root, {str(Path(layout, "package", "__init__.py")): "SAYS = 'new'\n"})
        assert ran(copy, "scripts/train.py", PYTHONPATH=str(tmp_path / "start")) == "new"
        assert ran(copy, "scripts/train.py") == "old"

    def test_a_finder_with_a_mapping(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root = written(tmp_path / "root", {"src/package/__init__.py": ""})
        finder = ModuleType("__editable___package_finder")
        vars(finder)["MAPPING"] = {"package": str(root / "src" / "package")}
        monkeypatch.setitem(sys.modules, finder.__name__, finder)
        assert import_folders(root) == [root / "src"]
        assert taken(root).environment()["PYTHONPATH"].split(os.pathsep)[0].endswith("copy/src")

    def test_a_relative_path_out_of_the_original_is_made_absolute(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(root)
        (root.parent / "data").mkdir()
        for name, value in (("OUT", "../data"), ("IN", "."), ("NOWHERE", "../nothing")):
            monkeypatch.setenv(name, value)
        given = taken(root).environment()
        assert given["OUT"] == str((root.parent / "data").resolve())
        assert (given["IN"], given["NOWHERE"]) == (".", "../nothing")

    def test_neither_environments_nor_other_folders_are_mapped(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders = [root / ".venv/lib/site-packages", root / "env/lib/site-packages", Path("/usr")]
        for folder in folders[:2]:
            folder.mkdir(parents=True)
        monkeypatch.setattr(sys, "path", [str(root), *map(str, folders)])
        assert import_folders(root) == []  # the first is the folder of the script itself

    def test_what_was_given_stays_behind_it(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", ["", str(root / "conf")])
        monkeypatch.setenv("PYTHONPATH", "/elsewhere")
        copy = taken(root)
        path = copy.environment()["PYTHONPATH"]
        assert path == os.pathsep.join([str(copy.folder / "conf"), "/elsewhere"])
