# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with a real virtio-vsock device, whose host is this system. For the tests and the benchmark."""
from .parts import Missing, Kernel, kernel, missing, vsock_device, virtiofsd
from .image import Image
from .machine import Machine
from .devices import VsockDevice, Virtiofs
from .agent import Agent

__all__ = ["Missing", "Kernel", "kernel", "missing", "vsock_device", "virtiofsd", "Image", "Machine", "VsockDevice",
           "Virtiofs", "Agent"]
