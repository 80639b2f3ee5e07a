# tries: replay a CUDA graph that reads the first call's pointers
# family: replay
# case: softmax fp32
# gate: refuses
# open: wrong_values tampering runtime_error
import torch

LANGUAGE = "torch"
GRAPHS = {}


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        if x.shape not in GRAPHS:
            torch.softmax(x, -1)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = torch.softmax(x, -1)
            GRAPHS[x.shape] = graph, out
        graph, out = GRAPHS[x.shape]
        graph.replay()
        return out
