#include "analyzer/probe.hpp"

#include <algorithm>
#include <utility>

#include "format/extensions.hpp"

namespace cowvet::analyzer {

std::string_view format_by_magic(base::ConstBytes first_bytes) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, std::string_view> known[] = {
      {"QFI\xfb"sv, "qcow2"sv},
      {"KDMV"sv, "vmdk"sv},
      {"COWD"sv, "vmdk"sv},
      {"# Disk DescriptorFile"sv, "vmdk"sv},
      {"QED\0"sv, "qed"sv},
      {"vhdxfile"sv, "vhdx"sv},
      {"conectix"sv, "vpc"sv},
      {"LUKS\xba\xbe"sv, "luks"sv},
      {"<<< Oracle VM VirtualBox Disk Image >>>"sv, "vdi"sv},
      {"WithoutFreeSpace"sv, "parallels"sv},
      {"WithouFreSpacExt"sv, "parallels"sv}};
  constexpr std::size_t longest = 64;
  const auto text = format::as_text(first_bytes.first(std::min(first_bytes.size(), longest)));
  for (const auto& [magic, name] : known) {
    if (!text.starts_with(magic)) continue;
    // Version 1 of qcow is another format with the same magic.
    if (name == "qcow2" && text.size() >= 8 && text.substr(4, 4) == "\0\0\0\1"sv) return "qcow"sv;
    return name;
  }
  return {};
}

}  // namespace cowvet::analyzer
