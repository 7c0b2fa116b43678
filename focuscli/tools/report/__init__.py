"""`focus report`: what a run learnt, as one self-contained page. `collect` gathers, `page` renders."""
