"""The part of KubeRay's and Kubernetes' types that the manifest uses, written down as strict models.

Not the schema of the custom resource itself: that comes with the operator, and is on no package index. Its fields were
read in KubeRay's sources and reference, `authOptions` (1.5.1 and later) included:
https://github.com/ray-project/kuberay/blob/master/ray-operator/apis/ray/v1/rayjob_types.go
https://github.com/ray-project/kuberay/blob/master/ray-operator/apis/ray/v1/raycluster_types.go
https://docs.ray.io/en/master/cluster/kubernetes/references/api.html
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
A field that is not listed here is refused, so that a typing error does not pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A part of the manifest: camel case, no unknown field, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(Part):
    name: Name | None = None
    generate_name: str | None = None
    namespace: Name | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class SecretReference(Part):
    name: Name
    optional: bool = False


class EnvironmentSource(Part):
    secret_ref: SecretReference


class Variable(Part):
    """A variable with its value written out."""

    name: str
    value: str


class ContainerPort(Part):
    name: Annotated[str, Field(max_length=15)]
    container_port: Annotated[int, Field(gt=0, lt=65536)]


class Resources(Part):
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}

    @model_validator(mode="after")
    def _extended_resources_are_limits(self) -> Resources:
        for name in [name for name in {*self.requests, *self.limits} if "/" in name]:
            assert self.requests.get(name, self.limits[name]) == self.limits[name], f"{name}: request equals limit"
        return self


class Container(Part):
    name: Name
    image: str
    env: list[Variable] = []
    env_from: list[EnvironmentSource] = []
    ports: list[ContainerPort] = []
    resources: Resources


class Toleration(Part):
    key: str
    operator: Literal["Exists", "Equal"]
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class PodSpec(Part):
    containers: Annotated[list[Container], Field(min_length=1)]
    share_process_namespace: bool = False
    host_pid: Annotated[bool, Field(alias="hostPID")] = False
    termination_grace_period_seconds: Count = 30
    tolerations: list[Toleration] = []

    @model_validator(mode="after")
    def _one_way_to_share_processes(self) -> PodSpec:
        assert not (self.share_process_namespace and self.host_pid), "the API server refuses both at once"
        return self


class PodTemplate(Part):
    metadata: Metadata = Metadata()
    spec: PodSpec


class HeadGroup(Part):
    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(HeadGroup):
    group_name: Name
    replicas: Count
    min_replicas: Count
    max_replicas: Count

    @model_validator(mode="after")
    def _in_order(self) -> WorkerGroup:
        assert self.min_replicas <= self.replicas <= self.max_replicas
        return self


class Authentication(Part):
    mode: Literal["disabled", "token"]


class RayCluster(Part):
    ray_version: str
    auth_options: Authentication
    head_group_spec: HeadGroup
    worker_group_specs: list[WorkerGroup]


class Submitter(Part):
    backoff_limit: Count


class RayJobSpec(Part):
    entrypoint: str
    submission_mode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    submitter_config: Submitter
    backoff_limit: Count
    active_deadline_seconds: Annotated[int, Field(gt=0)]
    shutdown_after_job_finishes: bool
    ttl_seconds_after_finished: Count
    runtime_env_yaml: Annotated[str, Field(alias="runtimeEnvYAML")]
    ray_cluster_spec: RayCluster

    @model_validator(mode="after")
    def _time_to_live_needs_a_shutdown(self) -> RayJobSpec:
        assert self.shutdown_after_job_finishes or not self.ttl_seconds_after_finished
        return self


class RayJob(Part):
    api_version: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec
