// What libvirt's XML says, read and held against no images at all. Promises: what can't be read is said to be
// so, what was read has a name and stays below its bounds, and findings come for any relation of files. The
// input: files, with a zero byte between them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/libvirt.hpp"
#include "fuzz/require.hpp"

namespace cowvet::fuzz {
namespace {

using Kind = analyzer::LibvirtFile::Kind;

void read_all(std::string_view input) {
  analyzer::Libvirt libvirt;
  libvirt.groups = 2;
  for (std::size_t number = 0; !input.empty() && number < 64; ++number) {
    const auto text = input.substr(0, input.find('\0'));
    input.remove_prefix(std::min(text.size() + 1, input.size()));
    auto file = analyzer::parse_libvirt("nowhere/" + std::to_string(number), std::string(text));
    require(file.problem.empty() == (file.kind != Kind::unreadable), "what can't be read has a reason");
    require(file.kind == Kind::unreadable || !file.name.empty(), "what was read has a name");
    require(file.then.size() <= 256 && file.disks.size() <= 256, "disks are bounded");
    file.group = number % 2;
    libvirt.files.push_back(std::move(file));
  }
  for (const auto& source : libvirt.sources()) require(!source.file.empty(), "a source has a name");
  analyzer::Graph graph;
  analyzer::check_libvirt(libvirt, graph);
  for (const auto& file : libvirt.files)
    require(file.kind != Kind::unreadable || !file.findings.empty(), "what can't be read is told");
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::read_all({reinterpret_cast<const char*>(data), size});
  return 0;
}
