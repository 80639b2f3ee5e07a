# shows: a workspace allocated by each call, and its own temporaries changed in place
# case: softmax fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        work = torch.empty_like(x)
        torch.sub(x, x.amax(-1, keepdim=True), out=work)
        work.exp_()
        work /= work.sum(-1, keepdim=True)
        return work
