"""Every code block of the pages runs: README.md, CONTRIBUTING.md, SECURITY.md, and those in
docs/ and examples/.

A page's blocks run in its order, in a folder of the page's own (``folder.py``) that holds a real
demo root called ``ROOT``, and in one namespace of Python. What runs means for a language is in
``languages.py``, for a program of a shell block in ``programs.py``. What is not run is listed in
``not_run.txt``, with its reason; ``python -m tests.docs.not_run --write`` renews it.

A comment before a block says what readers need not see::

    <!-- block: not run: REASON -->           it is listed
    <!-- block: run by tests/PATH.py -->      that test runs it; here its calls are checked
    <!-- block: slow: REASON -->              it runs with `make test-slow`
    <!-- block: exits 2 -->                   the status of its commands; 0 where none is said
    <!-- block: exits 0 1 -->                 that of each, those of a pipe too
    <!-- block: file NAME -->                 it is written into a file of that name, and not run
    <!-- block: added to NAME -->             it is added to that file, such as ROOT/segpipe.toml
    <!-- block: where M=street-unet-v2 -->    words of commands that stand for others, from there on
    <!-- block: prints -->                    it is what the block above printed; ... is anything
    <!-- block: fresh -->                     the folder is laid out anew before it
    <!-- block: python
    answer = 42
    -->                                       code of that language, run and not shown

``<!-- blocks: python run by tests/PATH.py -->`` says the same of all blocks of a language below it;
``<!-- page: slow: REASON -->`` that the whole page runs with `make test-slow`.
"""
