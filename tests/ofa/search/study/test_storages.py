from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from ofa.search.study.storages import open_storage, shown
from search_spaces.common.errors import UserError


@pytest.mark.parametrize("form", ["sqlite:///{}/s.db", "{}/s.sqlite3", "journal:{}/new/s", "{}/s.log", "{}/s.journal"])
def test_files_by_url_and_by_name(form: str, tmp_path: Path) -> None:
    text = form.format(tmp_path)
    optuna.create_study(storage=open_storage(text), study_name="one").enqueue_trial({"x": 1})
    study = optuna.load_study(storage=open_storage(text), study_name="one")
    assert len(study.trials) == 1


@pytest.mark.parametrize(
    "text", ["", "study", "http://host/x", "sqlite:", "sqlite:///", "journal:", "redis://host", "s.txt"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--storage: not a storage that studies can be kept in.*sqlite:///FILE"):
        open_storage(text)


@pytest.mark.parametrize("name", ["s.db", "s.log"])
def test_a_file_that_is_no_storage_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text('{"a": 1}\n' * 200)
    with pytest.raises(UserError, match=name):
        open_storage(str(path))
    assert path.read_text() == '{"a": 1}\n' * 200


def test_a_missing_driver_is_named_with_its_package() -> None:
    with pytest.raises(
        UserError, match=r"needs the driver 'MySQLdb', which is not installed.*pip install mysqlclient"
    ) as e:
        open_storage("mysql://me:secret@127.0.0.1/studies")
    assert "secret" not in str(e.value)


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql://me:secret@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert shown("sqlite:///a:b@c.db") == "sqlite:///a:b@c.db"


def test_a_line_that_a_killed_worker_left_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    study = optuna.create_study(storage=open_storage(str(path)), study_name="one")
    study.enqueue_trial({"x": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker_id":"ab')
    again = optuna.load_study(storage=open_storage(str(path)), study_name="one")
    again.enqueue_trial({"x": 2})
    assert path.read_bytes().startswith(whole)
    read = optuna.load_study(storage=open_storage(str(path)), study_name="one")
    assert [trial.system_attrs["fixed_params"]["x"] for trial in read.trials] == [1, 2]
    assert not list(tmp_path.glob("*.lock*"))


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for text in (f"sqlite:///{tmp_path}/file/s.db", f"journal:{tmp_path}/file/s"):
        with pytest.raises(UserError, match="cannot be opened"):
            open_storage(text)
