# tries: import the reference and be it
# case: softmax fp32
# gate: refuses
# open: runtime_error compile_error
import torch
from joulegrid.cases.softmax.model import RowSoftmax

LANGUAGE = "torch"


class OptimizedModel(RowSoftmax):
    pass
