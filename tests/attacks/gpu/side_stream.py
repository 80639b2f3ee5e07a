# tries: compute on a stream of its own, which the timed stream does not wait for
# family: timing
# case: softmax fp32
# gate: refuses
# open: wrong_values tampering
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(20_000_000)
            out.copy_(torch.softmax(x, -1))
        return out
