// What a caller may ask of a check.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "findings/finding.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

struct Options {
  bool deep = false;  // decode every compressed cluster, read every data cluster
  unsigned jobs = 0;  // threads; 0: as many as there are cores
  std::optional<std::uint64_t>
      memory_limit{};         // bytes for labels; default: 40 MiB + a byte per cluster that is really there
  bool assume_qcow2 = false;  // the user says it is qcow2 (-f qcow2), whatever the magic says
  bool in_use = false;        // another program holds QEMU's lock on the file
  const storage::Device* data_file =
      nullptr;         // the external data file, for --deep; it is read, never written
  std::string path{};  // the image's file name: where relative names start from; may be empty
  // Of the chain that the image is a part of (graph.hpp): reported with what is found in it.
  std::span<const findings::Finding> of_the_chain{};
};

}  // namespace cowvet::analyzer
