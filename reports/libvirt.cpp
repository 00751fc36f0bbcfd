#include "reports/libvirt.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "reports/finding_json.hpp"
#include "reports/tree.hpp"

namespace cowvet::reports {

using analyzer::Keeping;
using analyzer::Libvirt;
using analyzer::LibvirtDisk;
using analyzer::LibvirtFile;
using Json = nlohmann::ordered_json;

namespace {

// "vda in overlay.qcow2", "vda internal".
std::string kept(const LibvirtDisk& disk) {
  if (disk.keeping == Keeping::external && !disk.source.empty())
    return fmt::format("{} in {}", base::escape(disk.target), base::escape(disk.source));
  return fmt::format("{} {}", base::escape(disk.target), to_string(disk.keeping));
}

std::string snapshot_line(const LibvirtFile& file) {
  std::string text = base::escape(file.name) + ":";
  const char* joint = " ";
  const auto add = [&](const std::string& words) {
    text += joint + words;
    joint = ", ";
  };
  if (!file.state.empty()) add(base::escape(file.state));
  for (const auto& disk : file.disks)
    if (disk.keeping != Keeping::none) add(kept(disk));
  if (!file.memory_file.empty()) add("memory in " + base::escape(file.memory_file));
  if (file.active.value_or(false)) add("current");
  return text + '\n';
}

std::string disk_line(const LibvirtDisk& disk) {
  return fmt::format("  {}: {}{}{}\n", base::escape(disk.target),
                     disk.source.empty() ? fmt::format("no local file ({})", base::escape(disk.kind))
                                         : base::escape(disk.source),
                     disk.format.empty() ? "" : fmt::format(", {}", base::escape(disk.format)),
                     disk.read_only ? ", read-only" : "");
}

Json disks_json(const std::vector<LibvirtDisk>& disks, bool of_snapshot) {
  Json list = Json::array();
  for (const auto& disk : disks) {
    Json json{{"target", base::escape(disk.target)}};
    if (of_snapshot) json["snapshot"] = to_string(disk.keeping);
    if (!disk.source.empty()) json["source"] = base::escape(disk.source);
    if (!disk.format.empty()) json["format"] = base::escape(disk.format);
    list.push_back(std::move(json));
  }
  return list;
}

Json file_json(const LibvirtFile& file) {
  Json json{{"filename", base::escape(file.file)},
            {"kind", file.kind == LibvirtFile::Kind::domain     ? "domain"
                     : file.kind == LibvirtFile::Kind::snapshot ? "snapshot"
                                                                : "unreadable"}};
  if (!file.problem.empty()) json["problem"] = base::escape(file.problem);
  if (file.kind != LibvirtFile::Kind::unreadable) {
    json["name"] = base::escape(file.name);
    json["domain"] = base::escape(file.domain);
    if (!file.uuid.empty()) json["uuid"] = base::escape(file.uuid);
    json["disks"] = disks_json(file.kind == LibvirtFile::Kind::domain ? file.then : file.disks,
                               file.kind == LibvirtFile::Kind::snapshot);
  }
  if (file.kind == LibvirtFile::Kind::domain) json["live"] = file.live;
  if (file.kind == LibvirtFile::Kind::snapshot) {
    if (!file.parent.empty()) json["parent-name"] = base::escape(file.parent);
    if (file.parent_at) json["parent"] = *file.parent_at;
    if (!file.state.empty()) json["state"] = base::escape(file.state);
    if (file.active) json["current"] = *file.active;
    json["memory"] = to_string(file.memory);
    if (!file.memory_file.empty()) json["memory-file"] = base::escape(file.memory_file);
  }
  json["findings"] = Json::array();
  for (const auto& finding : file.findings) json["findings"].push_back(finding_json(finding));
  return json;
}

}  // namespace

std::string libvirt_text(const Libvirt& libvirt) {
  const auto& files = libvirt.files;
  std::vector<std::vector<std::size_t>> machines(libvirt.groups), children(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].kind != LibvirtFile::Kind::unreadable) machines[files[i].group].push_back(i);
    if (files[i].parent_at) children[*files[i].parent_at].push_back(i);
  }
  std::string out;
  const auto line = [&](std::size_t index, const std::string& prefix) {
    out += prefix + snapshot_line(files[index]);
    return true;
  };
  const auto list = [&](std::size_t index) -> const std::vector<std::size_t>& { return children[index]; };
  for (const auto& machine : machines) {
    out += fmt::format("\nDomain {}:\n", base::escape(files[machine.front()].domain));
    for (const auto index : machine)
      if (files[index].kind == LibvirtFile::Kind::domain)
        for (const auto& disk : files[index].then) out += disk_line(disk);
    for (const auto index : machine)
      if (files[index].kind == LibvirtFile::Kind::snapshot && !files[index].parent_at)
        draw_tree(index, line, list, "  ");
  }
  return out;
}

Json libvirt_json(const Libvirt& libvirt) {
  Json list = Json::array();
  for (const auto& file : libvirt.files) list.push_back(file_json(file));
  return list;
}

}  // namespace cowvet::reports
