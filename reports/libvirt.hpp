// What libvirt's XML says, beside the chain that it was held against: for a person the machines with their
// disks and trees of snapshots, for programs a list of the files. Part of the report of a chain.
#pragma once
#include <string>

#include <nlohmann/json.hpp>

#include "analyzer/libvirt.hpp"

namespace cowvet::reports {

[[nodiscard]] std::string libvirt_text(const analyzer::Libvirt& libvirt);
// The files with their findings; `parent` is a position in the list.
[[nodiscard]] nlohmann::ordered_json libvirt_json(const analyzer::Libvirt& libvirt);

}  // namespace cowvet::reports
