// Rules of the area chain: what is wrong between images, judged from what read_graph() met. Each finding goes to the
// node whose owner can do something about it: about a name, to the image that has the name.
#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "analyzer/graph.hpp"
#include "analyzer/json_name.hpp"
#include "analyzer/overlays.hpp"
#include "base/text.hpp"
#include "findings/rule.hpp"
#include "storage/naming.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;

namespace {

// What QEMU knows to reach bytes by.
constexpr auto protocols = std::to_array<std::string_view>(
    {"blkdebug",     "blklogwrites", "blkreplay",    "blkverify", "ftp",      "ftps",     "gluster",
     "gluster+rdma", "gluster+tcp",  "gluster+unix", "http",      "https",    "iscsi",    "iser",
     "nbd",          "nbd+tcp",      "nbd+unix",     "nfs",       "null-aio", "null-co",  "nvme",
     "quorum",       "rbd",          "sheepdog",     "ssh",       "tftp",     "throttle", "vxhs"});
// Protocols that turn a folder or a device of the host into a disk.
constexpr auto host_protocols = std::to_array<std::string_view>({"fat", "host_cdrom", "host_device"});

std::string shown(const std::string& file) { return fmt::format("'{}'", base::escape(file)); }

class GraphChecks {
 public:
  GraphChecks(Graph& graph, const GraphOptions& options) : graph_(graph), options_(options) {}

  void run() {
    for (auto& node : graph_.nodes) {
      if (node.qcow2() && node.info->backing_name) name(node);
      if (node.below) pair(node, graph_.nodes[*node.below]);
      if (!node.overlays.empty()) base(node);
      if (node.qcow2() && node.info->header->external_data_file()) data_file(node);
      if (node.overlays.empty() && node.depth > options_.deepest)
        node.findings.push_back(Finding{"chain/depth"_rule}
                                    .at("backing_name")
                                    .wanted(Value::dec(options_.deepest))
                                    .found(Value::dec(node.depth)));
    }
  }

 private:
  // A finding about the backing name of `node`.
  static Finding about_name(const Node& node, findings::RuleId rule) {
    const auto& v2 = node.info->header->v2;
    return Finding{rule}
        .at("backing_name")
        .on(v2.backing_file_offset, v2.backing_file_size)
        .found(Value::text(*node.info->backing_name));
  }

  // The name alone, as it stands in the header.
  void name(Node& node) {
    const std::string& name = *node.info->backing_name;
    const auto report = [&](findings::RuleId rule, std::string detail = {}) {
      node.findings.push_back(about_name(node, rule).saying(std::move(detail)));
    };
    if (name.starts_with("json:")) return report("chain/json-name"_rule);
    if (name.starts_with("file:")) return;
    if (storage::has_protocol(name)) return protocol(node, name);
    if (name.starts_with('/')) return report("chain/absolute-path"_rule);
    if (node.no_folder) return report("chain/relative-unresolvable"_rule);
    escape(node, name);
  }

  void protocol(Node& node, const std::string& name) {
    const auto word = std::string_view(name).substr(0, name.find(':'));
    const auto is_one_of = [&](auto& list) { return std::ranges::find(list, word) != list.end(); };
    const bool remote = is_one_of(protocols) || name.substr(word.size()).starts_with("://");
    if (is_one_of(host_protocols))
      node.findings.push_back(
          about_name(node, "chain/special-file"_rule)
              .saying(fmt::format("\"{}:\" makes a folder or device of the host a disk.", word)));
    else if (remote)
      node.findings.push_back(about_name(node, "chain/remote-name"_rule));
    const std::string literal = folder_of(node.file) + '/' + name;
    const bool is_there = storage::look_at(literal).kind != storage::PathState::Kind::missing;
    if (is_there || (!remote && !is_one_of(host_protocols)))
      node.findings.push_back(
          about_name(node, "chain/colon-ambiguity"_rule)
              .saying(fmt::format("QEMU takes \"{}\" for a protocol; a file of the whole name {}.",
                                  base::escape(word), is_there ? "lies beside the image" : "is not there")));
  }

  // Whether a relative name leaves the image's folder: by "..", or by a link.
  void escape(Node& node, const std::string& name) {
    int level = 0;
    bool leaves = false;
    for (std::string_view rest = name; !rest.empty();) {
      const auto part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(part.size() + 1, rest.size()));
      if (part == "..")
        leaves |= --level < 0;
      else if (!part.empty() && part != ".")
        ++level;
    }
    const auto folder = storage::real_path(folder_of(node.file));
    const auto target = storage::real_path(storage::backing_path(node.file, name));
    std::string detail;
    if (folder && target) {
      const std::string inside = *folder == "/" ? "/" : *folder + '/';
      leaves = !target->starts_with(inside);  // a detour may come back
      detail = fmt::format("It leads to {}.", shown(*target));
    }
    if (leaves) node.findings.push_back(about_name(node, "chain/path-escape"_rule).saying(std::move(detail)));
  }

  // An overlay and what its name leads to.
  static void pair(Node& node, const Node& below) {
    const auto report = [&](findings::RuleId rule, std::string detail) {
      node.findings.push_back(about_name(node, rule).saying(std::move(detail)));
    };
    if (node.in_circle) report("chain/loop"_rule, fmt::format("It leads to {}.", shown(below.file)));
    switch (below.kind) {
      case NodeKind::missing:
        return report("chain/missing"_rule, fmt::format("{}: {}.", shown(below.file), below.problem));
      case NodeKind::unreadable:
        return report("chain/unreadable"_rule, fmt::format("{}: {}.", shown(below.file), below.problem));
      case NodeKind::special:
        return report("chain/special-file"_rule, fmt::format("{} {}.", shown(below.file), below.problem));
      case NodeKind::not_followed: return;
      case NodeKind::image: break;
    }
    if (below.state.kind == storage::PathState::Kind::block_device)
      report("chain/special-file"_rule, fmt::format("{} is a block device.", shown(below.file)));
    formats(node, below);
    if (!below.problem.empty())
      report("chain/unreadable"_rule, fmt::format("{}: {}.", shown(below.file), below.problem));
    times(node, below);
    if (below.info) contents(node, below);
  }

  static void formats(Node& node, const Node& below) {
    const auto& declared = node.info->backing_format;
    if (!declared || declared->empty() || *declared == below.probed) return;
    const bool as_raw = *declared == "raw" || *declared == "file" || *declared == "host_device";
    const auto finding = [&](findings::RuleId rule) {
      return Finding{rule}
          .at("ext[backing_format]")
          .wanted(Value::text(below.probed))
          .found(Value::text(*declared))
          .saying(fmt::format("The content of {} begins as {}.", shown(below.file), below.probed));
    };
    if (as_raw && below.probed == "raw") return;
    node.findings.push_back(finding(as_raw && below.probed != "qcow2" ? "chain/raw-base-looks-formatted"_rule
                                                                      : "chain/format-mismatch"_rule));
  }

  // A file's birth is that of this copy of it; its last change is never earlier than the overlay was made.
  static void times(Node& node, const Node& below) {
    const auto made =
        node.state.born != 0 ? std::min(node.state.born, node.state.modified) : node.state.modified;
    if (below.state.modified <= made) return;
    constexpr std::int64_t second = 1'000'000'000;
    node.findings.push_back(
        about_name(node, "chain/newer-backing"_rule)
            .saying(fmt::format("{} was written {} s after this overlay was made.", shown(below.file),
                                (below.state.modified - made + second - 1) / second)));
  }

  static void contents(Node& node, const Node& below) {
    const auto& over = *node.info;
    const auto& under = *below.info;
    // A base that is read as raw is as large as its file.
    const bool as_raw = over.backing_format == "raw";
    const std::uint64_t size = as_raw ? below.file_size : under.virtual_size;
    const auto sizes = [&](findings::RuleId rule) {
      node.findings.push_back(
          Finding{rule}
              .at("header.size")
              .wanted(Value::dec(size))
              .found(Value::dec(over.virtual_size))
              .saying(fmt::format("The disk of {} has {} bytes.", shown(below.file), size)));
    };
    if (size < over.virtual_size) sizes("chain/size-smaller"_rule);
    if (size > over.virtual_size) sizes("chain/size-larger"_rule);
    const bool clear = as_raw || !under.encrypted();
    if (over.encrypted() == clear)
      node.findings.push_back(
          Finding{"chain/encrypted-mix"_rule}
              .at("header.crypt_method")
              .found(Value::dec(over.header->v2.crypt_method))
              .saying(fmt::format("{} is {}encrypted.", shown(below.file), clear ? "not " : "")));
  }

  // What others stand on.
  void base(Node& node) const {
    const auto report = [&](Finding finding) { node.findings.push_back(std::move(finding)); };
    if (node.overlays.size() > 1) {
      std::string names;
      for (std::size_t i = 0; i < std::min<std::size_t>(node.overlays.size(), 8); ++i)
        names += (i == 0 ? "" : ", ") + shown(graph_.nodes[node.overlays[i]].file);
      report(
          Finding{"chain/common-base"_rule}
              .at("header")
              .found(Value::dec(node.overlays.size()))
              .saying(fmt::format("The overlays are {}{}.", names, node.overlays.size() > 8 ? ", ..." : "")));
    }
    if (node.locks.in_use_for_writing()) report(Finding{"chain/backing-shared-writer"_rule}.at("header"));
    if (!node.qcow2()) return;
    const auto& info = *node.info;
    if (info.header->corrupt())
      report(Finding{"chain/backing-dirty"_rule}
                 .at("header.incompatible_features.corrupt")
                 .found(Value::dec(1)));
    if (info.header->dirty())
      report(Finding{"chain/backing-dirty"_rule}
                 .at("header.incompatible_features.dirty")
                 .found(Value::dec(1))
                 .milder());
    if (!info.bitmaps.empty())
      report(Finding{"chain/bitmap-base"_rule}.at("bitmap_directory").found(Value::dec(info.bitmaps.size())));
    if (!info.snapshots.empty())
      report(Finding{"chain/snapshot-in-base"_rule}
                 .at("snapshot_table")
                 .found(Value::dec(info.snapshots.size())));
  }

  static void data_file(Node& node) {
    node.findings.push_back(Finding{"chain/data-file-node"_rule}
                                .at("ext[data_file]")
                                .found(Value::text(node.info->data_file_name.value_or(""))));
  }

  Graph& graph_;
  const GraphOptions& options_;
};

}  // namespace

void check_graph(Graph& graph, const GraphOptions& options) {
  GraphChecks(graph, options).run();
  for (auto& node : graph.nodes) std::ranges::sort(node.findings);
}

}  // namespace cowvet::analyzer
