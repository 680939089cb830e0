# SPDX-License-Identifier: Apache-2.0
# A recipe for Spack 1.0 and newer, for a clone of the repository. This folder stands in a
# repository of recipes as packages/sluice:
#   spack repo create ~/recipes mine && spack repo add ~/recipes/spack_repo/mine
#   cp -r packaging/spack ~/recipes/spack_repo/mine/packages/sluice
#   spack dev-build sluice@develop          (in the clone)
from spack_repo.builtin.build_systems.cmake import CMakePackage, generator
from spack_repo.builtin.build_systems.cuda import CudaPackage

from spack.package import *


class Sluice(CMakePackage, CudaPackage):
    """Runs a language model over a data set of prompts, over MPI, into one HDF5 file."""

    homepage = "https://example.org/sluice"
    git = "https://example.org/sluice.git"

    license("Apache-2.0", checked_by="sluice")

    version("develop", branch="main")

    depends_on("c", type="build")
    depends_on("cxx", type="build", when="+cuda")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("awk", type="build")
    depends_on("mpi")
    depends_on("hdf5")
    depends_on("zlib-api")
    depends_on("utf8proc")
    depends_on("libyaml")
    depends_on("zstd")
    depends_on("yajl")
    depends_on("xxhash")
    depends_on("openssl")
    depends_on("cuda@12.4:", when="+cuda")
    depends_on("nccl", when="+cuda")

    generator("ninja")

    def cmake_args(self):
        args = [
            self.define_from_variant("SLUICE_CUDA", "cuda"),
            self.define("SLUICE_TESTS", False),
        ]
        if self.spec.satisfies("+cuda") and not self.spec.satisfies("cuda_arch=none"):
            # Kernels of Hopper's warpgroups need 90a.
            archs = [a + "a" if a == "90" else a for a in self.spec.variants["cuda_arch"].value]
            args.append(self.define("SLUICE_CUDA_ARCHITECTURES", [f"{a}-real" for a in archs]))
        return args

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def check_version(self):
        program = Executable(self.prefix.bin.sluice)
        program("--version")
