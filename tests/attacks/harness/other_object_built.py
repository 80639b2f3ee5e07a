# tries: let the class return something that is no module and answers everything
# case: softmax fp32
# gate: refuses
# open: wrong_values runtime_error wrong_shape compile_error tampering
import torch

LANGUAGE = "torch"


class Yes:
    def __getattr__(self, name):
        return lambda *args, **kwargs: self

    def __call__(self, x, **kwargs):
        return torch.zeros_like(x)


class OptimizedModel(torch.nn.Module):
    def __new__(cls, *args, **kwargs):
        return Yes()
