# tries: prepare the weights whenever they are loaded; a change in place goes unseen
# case: rmsnorm fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps
        self.ready = None
        self.register_load_state_dict_post_hook(self.prepare)

    @staticmethod
    def prepare(module, _keys):
        module.ready = module.weight.detach().clone()

    def forward(self, x):
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return self.ready * (x.float() * scale).to(x.dtype)
