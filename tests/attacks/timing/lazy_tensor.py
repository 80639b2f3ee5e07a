# tries: return a tensor that computes when somebody looks at it, after the clock has stopped
# case: softmax fp32
# gate: refuses
# open: wrong_shape tampering runtime_error
import torch

LANGUAGE = "torch"


class Later(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        def ready(item):
            return torch.softmax(item.source, -1) if isinstance(item, Later) else item

        return function(*map(ready, args), **(kwargs or {}))


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        later = torch.empty_like(x).as_subclass(Later)
        later.source = x
        return later
