from skipw.ops.reference import run
__all__=["run"]
