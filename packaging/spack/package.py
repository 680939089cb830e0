# SPDX-License-Identifier: Apache-2.0
# A Spack recipe for a clone of the repository: put this folder into a repository of recipes as packages/sluice, then
#   spack dev-build sluice@develop          (in the clone)
from spack.package import *


class Sluice(CMakePackage, CudaPackage):
    """Runs a language model over a data set of prompts, over MPI, into one HDF5 file."""

    license("Apache-2.0", checked_by="sluice")

    version("develop")

    variant("cuda", default=False, description="Build the CUDA backend")

    depends_on("c", type="build")
    depends_on("cxx", type="build", when="+cuda")
    depends_on("cmake@3.22:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("awk", type="build")
    depends_on("mpi")
    depends_on("hdf5")
    depends_on("zlib-api")
    depends_on("libutf8proc")
    depends_on("libyaml")
    depends_on("zstd")
    depends_on("yajl")
    depends_on("xxhash")
    depends_on("openssl")
    depends_on("cuda@12.4:", when="+cuda")
    depends_on("nccl", when="+cuda")

    generator("ninja")

    def cmake_args(self):
        return [self.define_from_variant("SLUICE_CUDA", "cuda"), self.define("SLUICE_TESTS", False)]

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def check_version(self):
        program = Executable(self.prefix.bin.sluice)
        program("--version")
