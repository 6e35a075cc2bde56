"""A block that does not work is told by page and line, with what was expected and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.docs.blocks import Block, PageError, blocks_of
from tests.docs.languages import checked_only
from tests.docs.test_every_block import run_page

Run = Callable[..., str]


def page_of(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(dedent(text).replace("'''", "```"), "utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path, laid_out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a page, whose fences are three apostrophes; what it says is wrong, as one text."""

    def run(text: str, *, slow: bool = False) -> str:
        path = page_of(tmp_path, text)
        return "\n".join(run_page(path, tmp_path / "run", laid_out, monkeypatch, slow=slow))

    (tmp_path / "run").mkdir()
    return run


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("'''\nls\n'''", ["page.md:2", "nameless", "```sh", "not run: REASON"]),
        ("'''rust\nfn\n'''", ["page.md:2", "`rust`", "```python"]),
        ("A list\n\n    indented", ["page.md:3", "code by indentation", "```LANGUAGE"]),
        ("'''sh\n\nfrobnicate x\n'''", ["page.md:2", "line 3", "`frobnicate`", "not run: REASON"]),
        ("'''sh\nsegpipe run --date [D]\n'''", ["page.md:2", "`[D]`", "as they stand"]),
        ("'''sh\nsegpipe rules --frob\n'''", ["line 2", "status 2, expected 0", "No such option"]),
        ("'''sh\nsegpipe dev --frob\n'''", ["line 2", "options are refused", "--frob"]),
        ("'''sh\nmake tea\n'''", ["['tea']", "'demo'"]),
        ("'''sh\npip install 'segpipe[tea]'\n'''", ["no extra ['tea']", "'dask'"]),
        ("'''sh\npip install '.[tea]'\n'''", ["no extra ['tea']"]),
        ("'''sh\nexport SEGPIPE_TEA=1\n'''", ["SEGPIPE_TEA"]),
        ("'''sh\npython -m segpipe.tea\n'''", ["no module segpipe.tea"]),
        ("'''sh\ndagster asset frobnicate\n'''", ["options are refused", "frobnicate"]),
        ("'''sh\nsegpipe query --root ROOT 'SELECT 1 FROM rejected WHERE false'\n'''", ["no rows"]),
        ("'''python\nx = 1\ny = x.tea\n'''", ["page.md:2", "line 3", "AttributeError"]),
        ("'''toml\n[polisy]\n'''", ["page.md:2", "'polisy'", "policy", "file NAME"]),
        ("'''toml\n# polisy = 1\n'''", ["page.md:2", "'polisy'"]),
        ("'''sql\nSELECT * FROM trees\n'''", ["page.md:2", "status 2", "trees"]),
        ("'''yaml\na: [\n'''", ["page.md:2", "read as yaml"]),
        ("'''yaml\nrun_queue:\n  tea: 1\n'''", ["page.md:2", "as dagster.yaml", "tea"]),
        ("'''yaml\ntype: segpipe.SegpipeRoot\nattributes: {tea: 1}\n'''", ["no fields ['tea']"]),
        ("'''json\n{\n'''", ["page.md:2", "read as json"]),
        ("'''csv\na,b\n1\n'''", ["page.md:2", "[1, 2] cells"]),
        ("<!-- block: tea -->\n'''sh\nls\n'''", ["page.md:1", "`tea`", "not run", "prints"]),
        ("<!-- block: fresh -->\n\nA sentence.", ["page.md:3", "before no block"]),
        ("<!-- block: fresh -->", ["before no block"]),
        ("<!-- block: exits 1 -->\n'''sh\nsegpipe rules\n'''", ["status 0, expected 1"]),
        (
            "'''sh\nsegpipe validate ROOT/manifests/model_run=M/date=D/*.parquet\n'''",
            ["status 1, expected 0", "4 accepted, 3 rejected", "block: exits N"],
        ),
        ("<!-- block: exits 1 -->\n'''sh\nls\n'''", ["status 0, expected 1"]),
        ("'''sh\nsegpipe rules | grep tea | sort\n'''", ["grep tea", "status 1, expected 0"]),
        ("'''sh\nls | frobnicate\n'''", ["`frobnicate` is no program"]),
        ("'''sh\nls | segpipe rules\n'''", ["reads nothing that another command prints"]),
        ("'''sh\nX=$(cat tea | head)\n'''", ["status 1, expected 0", "No such file"]),
        ("'''sh\nls tea || ls\n'''", ["page.md:2", "`||`", "write the commands apart"]),
        ("'''sh\nls 2> tea\n'''", ["page.md:2", "`>`", "write the commands apart"]),
        ("'''sh\nls 2>> tea\n'''", ["page.md:2", "`>>`", "write the commands apart"]),
        ("'''sh\nls |& cat\n'''", ["page.md:2", "`|&`", "write the commands apart"]),
        ("'''sh\nls &&\nls\n'''", ["page.md:2", "goes on in the next line"]),
        ("<!-- block: exits 7 -->\n'''sh\npip install x\n'''", ["it is not run"]),
        (
            "'''sh\necho a > tea\n'''\n<!-- block: prints -->\n'''text\na\n'''",
            ["printed something else"],
        ),
        ("<!-- block: exits 1 0 -->\n'''sh\ncat a && ls\n'''", ["behind `&&`", "ends with 1"]),
        ("<!-- block: exits 0 0 -->\n'''sh\nls\n'''", ["1 commands and says 2 exit statuses"]),
        (
            "'''python\nprint('tea')\n'''\n<!-- block: prints -->\n'''text\ncoffee\n'''",
            ["page.md:6", "printed something else", "tea"],
        ),
        (
            "'''console\n$ segpipe rules OFF-BY-ONE\ntea\n'''",
            ["line 3: nothing prints `tea`", "OFF-BY-ONE"],
        ),
        ("'''python\n>>> 1 + 1\n3\n'''", ["page.md:2", "Expected", "Got"]),
        (
            "<!-- block: run by tests/test_names.py -->\n'''python\nx = 1\n'''",
            ["tests/test_names.py does not name page.md"],
        ),
    ],
)
def test_a_block_that_does_not_work_is_told(run: Run, block: str, words: list[str]) -> None:
    told = run(block)
    assert [word for word in words if word not in told] == [], told


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("segpipe.tea()", "segpipe has no tea"),
        ("from segpipe import tea", "segpipe has no tea"),
        ("writer.add('a', mask)", "missing a required argument: 'segments'"),
        ("segpipe.Segment('a', 1, tea=2)", "unexpected keyword argument 'tea'"),
        ("segpipe.Root.open()", "missing a required argument"),
        ("segpipe.Root.open('R').materialise('m')", "Root has no materialise"),
        ("root.catalog.predictions(tea=1)", "'tea'"),
        ("with segpipe.ManifestWriter('R', 'm', '2026-01-05') as w:\n    w.tea(1)", "has no tea"),
    ],
)
def test_calls_of_code_that_is_not_run_are_held_to_signatures(
    run: Run, call: str, words: str
) -> None:
    fence = f"<!-- block: not run: a model -->\n'''python\n{call}\n'''"
    assert words in run(fence)


def test_what_works_is_not_told(run: Run) -> None:
    told = run("""
        # A page

        <!-- a remark of another kind -->
        '''python
        import segpipe
        root = segpipe.Root.open("ROOT")
        '''

        1. In a list:

           '''python
           found = root.catalog.predictions(model_run="street-unet-v1").num_rows
           print(found, "rows of", 3 * found)
           '''
           <!-- block: prints -->
           '''text
           ... rows of ...
           '''

        <!-- block: python
        assert found > 10
        -->
        <!-- block: exits 1 0 -->
        '''sh
        .venv/bin/segpipe validate ROOT/manifests/model_run=M/date=D/*.parquet \\
            --out checked > told.txt; cat told.txt
        '''

        '''sh
        export SEGPIPE_ROOT=ROOT            # a remark
        NUMBER=$(printf 3)
        segpipe history --root "$SEGPIPE_ROOT"
        segpipe restore --root ROOT "$NUMBER"; python -m segpipe rules | grep PNG | sort | head -n 1
        pip install -r requirements.txt 'segpipe[s3,query]' -e '.[dev]'
        '''

        <!-- block: file policies/street.toml -->
        '''toml
        task = "panoptic"
        '''

        '''console
        $ ls checked policies
        ...
        street.toml
        '''

        :::{note}
        '''python
        print("not Markdown's own fence")
        '''
        :::

        '''{tip}
        A tip with code:

        ~~~python
        assert found
        ~~~
        '''

        '''{code-block} toml
        :caption: settings
        # automatic = true
        '''

        <!-- block: where ITEM=street-1-002 B=street-unet-v1 -->
        '''bash
        segpipe show --root ROOT ITEM --model-run B --out item.png
        ls item.png
        '''

        <!-- block: fresh -->
        '''python
        from pathlib import Path
        assert not Path("checked").exists()
        '''

        <!-- block: exits 2 -->
        '''sh
        segpipe show --root ROOT nobody
        '''

        '''sql
        SELECT label, count(*) FROM segments GROUP BY 1;
        SELECT * FROM predictions LIMIT 1
        '''
        """)
    assert told == ""


def test_what_a_pipe_prints_is_what_its_last_command_prints(run: Run) -> None:
    told = run("""
        <!-- block: exits 0 0 1 0 -->
        '''sh
        echo tea | wc -l
        ls nowhere; echo milk
        '''
        <!-- block: prints -->
        '''text
        1
        milk
        '''
        """)
    assert "status 2, expected 1" in told
    assert (
        run("""
        <!-- block: exits 0 0 2 0 -->
        '''sh
        echo tea | wc -l
        ls nowhere; echo milk
        '''
        <!-- block: prints -->
        '''text
        1
        milk
        '''
        """)
        == ""
    )


def test_blocks_below_one_that_fails_run_too(run: Run) -> None:
    told = run("'''python\n1 / 0\n'''\n\n'''python\nprint(x)\n'''\n")
    assert "ZeroDivisionError" in told
    assert "page.md:6" in told


def test_a_page_s_server_is_reached_where_the_page_says(run: Run) -> None:
    told = run("""
        '''sh
        segpipe browse --root ROOT --port 8010
        '''
        '''python
        from urllib.request import urlopen
        assert urlopen("http://127.0.0.1:8010/").status == 200
        '''
        """)
    assert told == ""


def test_a_slow_block_waits_for_the_slow_tests(run: Run) -> None:
    text = "<!-- block: slow: it fails -->\n'''python\n1 / 0\n'''"
    assert run(text) == ""
    assert "ZeroDivisionError" in run(text, slow=True)


def test_what_is_not_run_has_a_reason(tmp_path: Path) -> None:
    path = page_of(
        tmp_path,
        """
        <!-- block: not run: needs a cluster -->
        '''sh
        segpipe rules
        '''
        '''text
        a drawing
        '''
        '''sh
        docker ps && segpipe rules
        make demo
        '''
        '''python
        import detectron2
        '''
        <!-- blocks: python run by tests/test_names.py -->
        '''python
        x = 1
        '''
        '''sh
        segpipe rules
        '''
        """,
    )
    reasons = [checked_only(block) for block in blocks_of(path)]
    assert reasons == [
        ["needs a cluster"],
        ["text"],
        ["docker: needs a daemon of Docker's", "make: its target is in the Makefile"],
        ["its calls are held to signatures; detectron2 is not installed"],
        ["its calls are held to signatures; tests/test_names.py runs it"],
        [],
    ]


def test_a_comment_says_what_holds_for_the_next_block_alone(tmp_path: Path) -> None:
    path = page_of(tmp_path, "<!-- block: exits 2 -->\n'''sh\nls\n'''\n\n'''sh\nls\n'''\n")
    first, second = blocks_of(path)
    assert (first.said, second.said) == ({"exits": "2"}, {})
    assert (second.line, second.text) == (7, "ls\n")


def test_a_name_that_is_no_directive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="`skip` says nothing of a block; write one of not run"):
        blocks_of(page_of(tmp_path, "<!-- block: skip -->\n'''sh\nls\n'''"))
    assert Block("page.md", 3, "sh", "").place == "page.md:3"
