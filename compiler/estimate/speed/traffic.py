"""Who sends how much to whom in one step: FSDP's gathers, sums of gradients, and the groups of devices that talk."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.estimate.workload import Workload

__all__ = ["Group", "gathers", "group_of", "local_parameters", "sync"]


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that talk.

    Args:
        size: their number; near: how many of them share a domain of fast links.
        link, network: bytes per second and device, inside and outside of it.
    """

    size: int
    near: int
    link: float
    network: float

    def gather(self, size_bytes: float) -> tuple[float, float]:
        """Ideal seconds on the link and on the network of gathering (or scattering) `size_bytes` over the group."""
        if self.size <= 1:
            return 0.0, 0.0
        far = self.size > self.near
        on_link = size_bytes * (self.near - 1) / self.near / self.link
        # Every near member drives a network card of its own.
        on_network = size_bytes * (1 - self.near / self.size) / (self.network * self.near) if far else 0.0
        return on_link, on_network

    @property
    def hops(self) -> float:
        """Steps of a ring, which is how NCCL gathers and scatters."""
        return self.size - 1.0


def group_of(w: Workload, size: int, inner: int) -> Group:
    """The group of an axis whose neighbours are `inner` devices apart."""
    domain = max(w.layout.per_node, w.device.link_devices)
    near = max(1, min(size, domain // max(1, inner)))
    return Group(size, near, w.device.link_bandwidth, w.device.network_bandwidth)


def local_parameters(w: Workload) -> float:
    """Weights of one device before any sharding of the data axis; experts lie on the data axis."""
    s, lay = w.shape, w.layout
    experts = 0.0
    if s.experts > 1:
        experts = s.layers * (3 if s.gated else 2) * s.hidden * s.intermediate * s.experts
        experts = min(experts, s.parameters * 0.98)
    dense = s.parameters - experts
    return dense / (lay.tensor * lay.pipeline) + experts / (lay.tensor * lay.pipeline * lay.expert)


def gathers(w: Workload, layers: float) -> tuple[float, float, float]:
    """FSDP's traffic of a micro-batch: weights in the forward pass, again in the backward pass, gradients out."""
    lay, n = w.layout, w.numerics
    shards = max(1, lay.shard_degree)
    if lay.sharding not in ("full", "gradients") or shards <= 1:
        return 0.0, 0.0, 0.0
    group = group_of(w, shards, lay.tensor)
    local = local_parameters(w)
    passes = 2.0 if lay.sharding == "full" else 1.0
    size = local * (passes * n.gathered_bytes + n.trainable * n.reduce_bytes)
    link, network = group.gather(size)
    return link, network, (passes + 1) * layers * group.hops


def sync(w: Workload, layers: float) -> tuple[float, float, float]:
    """Once per step: gradients summed over copies of the model, and ZeRO-1's weights gathered again."""
    lay, n = w.layout, w.numerics
    local = local_parameters(w)
    gradients = local * n.trainable * n.reduce_bytes
    copies = lay.data * lay.context
    inner = lay.tensor
    if lay.sharding in ("full", "gradients"):
        shards = max(1, lay.shard_degree)
        replicas = max(1, copies // shards)
        group = group_of(w, replicas, inner * shards)
        link, network = group.gather(2 * gradients / shards)
        return link, network, layers * group.hops
    group = group_of(w, copies, inner)
    if lay.sharding == "none" or lay.shard_degree >= copies:
        weights = local * n.trainable * n.gathered_bytes if lay.sharding == "optimizer" else gradients
        link, network = group.gather(gradients + weights)
        return link, network, 2 * layers * group.hops
    # Gradients are summed over all copies, weights come back from the few that share the optimizer.
    sharing = group_of(w, lay.shard_degree, inner)
    out, back = group.gather(2 * gradients), sharing.gather(local * n.trainable * n.gathered_bytes)
    return out[0] + back[0], out[1] + back[1], layers * (group.hops + sharing.hops)
