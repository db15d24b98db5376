"""Starts `unsaf.distill.train` with accelerate's FSDP on CPUs, for a test without GPUs. Torch shards a model there too (by gloo), but accelerate
takes its FSDP settings only where there are accelerators and would quietly go on with whole copies."""
import accelerate.state as state
import torch.distributed.fsdp as fsdp
from accelerate.utils import DistributedType

begin, shard, sharded = state.AcceleratorState.__init__, fsdp.fully_shard, []


def with_parts(self, *args, fsdp_plugin=None, **kwargs):
    begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is None: return   # a later look at the same state
    self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
    state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def counted(module, *args, **kwargs):
    sharded.append(type(module).__name__)
    return shard(module, *args, **kwargs)


state.AcceleratorState.__init__, fsdp.fully_shard = with_parts, counted

from unsaf.distill.train import main  # noqa: E402

if __name__ == "__main__":
    main()
    print("sharded:", *sharded)
