"""The script that prints the tables of the docs: each number is that of the run's own tables, in its place."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

MAIN = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "study_summary.py"))["main"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of two layers and two checkpoints, all values written here by hand."""
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)

    def write(name: str, *lines: str) -> None:
        (folder / "tables" / f"{name}.csv").write_text("\n".join(lines) + "\n")

    write(
        "invariance",
        "checkpoint,split,layer,index,alteration,kind,strength,metric,value,std_error,chance,clean",
        *(
            f"last,test,{layer},{i},noise_{s},noise,{s},nncs,{i + s},0.01,0.1,0.9"
            for i, layer in ((1, "b"), (0, "a"))
            for s in (0.25, 0.5)
        ),
        "last,test,a,0,flip,augment,,copy_distance,0.625,0.03,1.1,0",
        "last,train,a,0,flip,augment,,copy_distance,0.5,0.03,1.1,0",
        "epoch_0000,test,a,0,flip,augment,,copy_distance,7,0.03,1.1,0",
    )
    write(
        "pullback_points",
        "checkpoint,metric,layer,unit,inside,prediction,side,curvature",
        *(
            "last,plane,a,0,1,x,near,-1",
            "last,plane,a,0,1,y,near,3",
            "last,plane,a,0,1,y,far,-8",
            "last,plane,a,0,0,y,far,9",
        ),
        *("last,plane,a,1,1,x,,", "last,plane,a,1,1,x,,"),
    )
    write("layers", "checkpoint,split,layer,index,pool", "last,test,b,1,none", "last,test,a,0,none")
    ends = "checkpoint_a,split_a,layer_a,pool_a,checkpoint_b,split_b,layer_b,pool_b"
    write("nnls", f"{ends},nnls", "last,test,a,none,last,test,b,none,0.25", "last,test,b,none,last,test,a,none,0.25")
    write(
        "pairs",
        f"{ends},metric,value",
        *("last,test,a,none,last,test,b,none,gap,0.5", "last,test,b,none,last,test,a,none,gap,0.75"),
        *("one,test,b,none,last,test,b,none,gap,0.125", "last,train,a,none,last,train,b,none,gap,9"),
    )
    return folder


def test_numbers_stand_where_the_tables_have_them(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    MAIN([str(run), "--digits", "3"])
    printed = capsys.readouterr().out
    for expected in (
        "| nncs, test, noise | unaltered | 0.25 | 0.5 |\n|---|---|---|---|\n| a | 0.900 | 0.250 | 0.500 |\n| b |",
        "| copy_distance, test | a |\n|---|---|\n| flip | 0.625 |\n\n",  # the last checkpoint, and no row of 0
        "copy_distance: standard errors up to 0.0300; chance levels 1.1000 to 1.1000; "
        "training and test samples differ by 0.1250 at most",
        "| last, plane, a | 2 | 1 | 0.667 | 0.500 | 1.000 | 2.000 | 8.000 |",  # of two units one; not the point outside
        "| with the layer before | b |\n|---|---|\n| nnls | 0.250 |\n| gap | 0.500 |\n| gap, backwards | 0.750 |",
        "| gap, test | one to last |\n|---|---|\n| b | 0.125 |",
    ):
        assert expected in printed
    MAIN([str(run), "--split", "train"])
    other = capsys.readouterr().out
    assert "| flip | 0.50 |" in other
    assert "| gap | 9.00 |" in other


def test_a_folder_without_tables_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        MAIN([str(tmp_path)])
    assert raised.value.code == 2
    assert "give the folder of a finished run" in capsys.readouterr().err
