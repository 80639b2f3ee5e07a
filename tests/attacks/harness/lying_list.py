# tries: return a list that shows other tensors to each reader
# case: add_rmsnorm fp32
# gate: refuses
# open: wrong_values wrong_shape wrong_dtype tampering runtime_error
import torch

LANGUAGE = "torch"


class Lying(tuple):
    def __iter__(self):
        return iter(())

    def __len__(self):
        return 2

    def __eq__(self, other):
        return True


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, pair):
        return Lying((torch.zeros_like(pair[0]), torch.zeros_like(pair[0])))
