// Rules of the area libvirt: what the XML says, held against itself and against the files. A finding goes to
// the XML file that says what is wrong; only what the XML does not mention goes to the image. What is no
// local file is not judged.
#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "analyzer/circles.hpp"
#include "analyzer/libvirt.hpp"
#include "base/text.hpp"
#include "findings/rule.hpp"
#include "storage/path_state.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;

namespace {

std::string shown(std::string_view name) { return fmt::format("'{}'", base::escape(name)); }

std::string of_disk(const LibvirtDisk& disk, std::string_view part) {
  return fmt::format("disk[{}]{}{}", disk.target, part.empty() ? "" : ".", part);
}

// How a snapshot's disks are kept; `mixed` is what no snapshot should be.
struct Manner {
  bool internal = false, external = false;
  [[nodiscard]] bool any() const { return internal || external; }
  [[nodiscard]] bool mixed() const { return internal && external; }
  bool operator==(const Manner&) const = default;
};

class LibvirtChecks {
 public:
  LibvirtChecks(Libvirt& libvirt, Graph& graph)
      : files_(libvirt.files), groups_(libvirt.groups), graph_(graph) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const auto& node = graph.nodes[i];
      if (node.state.kind == storage::PathState::Kind::missing)
        by_name_.emplace(node.file, i);
      else
        by_file_.emplace(std::pair(node.state.device, node.state.inode), i);
    }
    for (const auto& file : files_) snapshots_given_ |= file.kind == LibvirtFile::Kind::snapshot;
  }

  void run() {
    relate();
    for (auto& file : files_) {
      if (file.kind == LibvirtFile::Kind::unreadable)
        file.findings.push_back(Finding{"libvirt/unreadable"_rule}.at("file").saying(file.problem + "."));
      for (const auto& disk : file.then)
        if (file.kind == LibvirtFile::Kind::domain) domain_disk(file, disk);
      if (file.kind == LibvirtFile::Kind::snapshot) snapshot(file);
    }
    currents();
    shared_disks();
    if (snapshots_given_) unlisted();
    for (auto& file : files_) std::ranges::sort(file.findings);
  }

 private:
  [[nodiscard]] std::optional<std::size_t> node_of(const std::string& file) const {
    if (file.empty()) return {};
    if (const auto at = by_name_.find(file); at != by_name_.end()) return at->second;
    const auto state = storage::look_at(file);
    if (state.kind == storage::PathState::Kind::missing) return {};
    const auto at = by_file_.find({state.device, state.inode});
    return at == by_file_.end() ? std::nullopt : std::optional(at->second);
  }
  // The image that a name leads to, when there is one.
  [[nodiscard]] std::optional<std::size_t> image_of(const std::string& file) const {
    const auto at = node_of(file);
    return at && graph_.nodes[*at].kind == NodeKind::image ? at : std::nullopt;
  }
  [[nodiscard]] std::string problem_of(const std::string& file) const {
    const auto at = node_of(file);
    return fmt::format("{}: {}.", shown(file), at ? graph_.nodes[*at].problem : "there is no such file");
  }
  // Whether `top` is `file` or stands on it. Circles end it.
  [[nodiscard]] bool stands_on(std::size_t top, std::size_t file) const {
    std::size_t steps = 0;
    for (std::optional<std::size_t> at = top; at && steps <= graph_.nodes.size();
         at = graph_.nodes[*at].below, ++steps)
      if (*at == file) return true;
    return false;
  }

  static const LibvirtDisk* find(const std::vector<LibvirtDisk>& disks, std::string_view target) {
    const auto at = std::ranges::find_if(disks, [&](const LibvirtDisk& disk) {
      return disk.target == target || (!disk.source.empty() && disk.source == target);
    });
    return at == disks.end() ? nullptr : &*at;
  }

  // Names and parents.
  void relate() {
    std::vector<std::map<std::string, std::size_t>> named(groups_);
    std::map<std::pair<std::size_t, bool>, std::size_t> domains;
    for (std::size_t i = 0; i < files_.size(); ++i) {
      auto& file = files_[i];
      if (file.kind == LibvirtFile::Kind::unreadable) continue;
      std::size_t first = i;
      if (file.kind == LibvirtFile::Kind::snapshot)
        first = named[file.group].emplace(file.name, i).first->second;
      else
        first = domains.emplace(std::pair(file.group, file.live), i).first->second;
      if (first != i)
        file.findings.push_back(Finding{"libvirt/duplicate-name"_rule}
                                    .at("name")
                                    .found(Value::text(file.name))
                                    .saying(fmt::format("{} describes it too.", shown(files_[first].file))));
    }
    for (auto& file : files_) {
      if (file.kind != LibvirtFile::Kind::snapshot || file.parent.empty()) continue;
      const auto& names = named[file.group];
      if (const auto at = names.find(file.parent); at != names.end()) {
        file.parent_at = at->second;
        continue;
      }
      auto finding = Finding{"libvirt/parent-unknown"_rule}.at("parent").found(Value::text(file.parent));
      file.findings.push_back(file.from_folder
                                  ? std::move(finding)
                                  : std::move(finding).milder().saying("Only single files were given."));
    }
    circles();
  }

  // Each circle is told of once, and then cut.
  void circles() {
    each_circle(
        files_.size(), [&](std::size_t file) { return files_[file].parent_at; },
        [&](std::span<const std::size_t> members) {
          auto& last = files_[members.back()];
          last.findings.push_back(
              Finding{"libvirt/parent-circle"_rule}.at("parent").found(Value::text(last.parent)));
          last.parent_at.reset();
        });
  }

  // The format that libvirt reads the file in, against its content.
  void format(LibvirtFile& file, const LibvirtDisk& disk, const Node& node, std::string_view unsaid) const {
    const std::string_view format = disk.format.empty() ? unsaid : std::string_view(disk.format);
    // What a guest keeps on a raw disk is its own affair, but for the one thing that nobody keeps there.
    const bool fits = format == "raw" ? node.probed != "qcow2" : format == node.probed;
    if (fits) return;
    file.findings.push_back(
        Finding{"libvirt/format-mismatch"_rule}
            .at(of_disk(disk, "driver"))
            .wanted(Value::text(node.probed))
            .found(Value::text(std::string(format)))
            .saying(fmt::format("The content of {} begins as {}{}.", shown(disk.source), node.probed,
                                disk.format.empty() ? "; no type is recorded" : "")));
  }

  void domain_disk(LibvirtFile& file, const LibvirtDisk& disk) {
    if (disk.source.empty()) return;
    const auto at = image_of(disk.source);
    if (!at) {
      if (disk.optional) return;
      file.findings.push_back(Finding{"libvirt/source-missing"_rule}
                                  .at(of_disk(disk, "source"))
                                  .found(Value::text(disk.source))
                                  .saying(problem_of(disk.source)));
      return;
    }
    const auto& node = graph_.nodes[*at];
    format(file, disk, node, "raw");
    if (!disk.read_only && !node.overlays.empty()) {
      std::string names;
      for (std::size_t i = 0; i < std::min<std::size_t>(node.overlays.size(), 8); ++i)
        names += (i == 0 ? "" : ", ") + shown(graph_.nodes[node.overlays[i]].file);
      file.findings.push_back(
          Finding{"libvirt/source-not-top"_rule}
              .at(of_disk(disk, "source"))
              .found(Value::text(disk.source))
              .saying(fmt::format("On it stand {}{}.", names, node.overlays.size() > 8 ? ", ..." : "")));
    }
    backing_store(file, disk, *at);
  }

  void backing_store(LibvirtFile& file, const LibvirtDisk& disk, std::size_t top) const {
    const auto report = [&](const std::string& found, const std::string& wanted) {
      file.findings.push_back(Finding{"libvirt/backing-store"_rule}
                                  .at(of_disk(disk, "backingStore"))
                                  .wanted(Value::text(wanted.empty() ? "nothing" : wanted))
                                  .found(Value::text(found.empty() ? "nothing" : found)));
    };
    auto at = graph_.nodes[top].below;
    for (const auto& layer : disk.backing) {
      if (layer.source.empty()) return;
      if (!at || node_of(layer.source) != at) return report(layer.source, at ? graph_.nodes[*at].file : "");
      at = graph_.nodes[*at].below;
    }
    if (disk.backing_ends && at) report("", graph_.nodes[*at].file);
  }

  static Manner manner(const LibvirtFile& file) {
    Manner manner;
    for (const auto& disk : file.disks) {
      manner.internal |= disk.keeping == Keeping::internal;
      manner.external |= disk.keeping == Keeping::external;
    }
    return manner;
  }

  void snapshot(LibvirtFile& file) {
    const auto own = manner(file);
    const auto before = file.parent_at ? manner(files_[*file.parent_at]) : Manner{};
    if (own.mixed() || (own.any() && before.any() && own != before))
      file.findings.push_back(
          Finding{"libvirt/mixed"_rule}
              .at("disks")
              .found(Value::text(own.mixed()    ? "both"
                                 : own.internal ? "internal"
                                                : "external"))
              .saying(own.mixed() ? "This snapshot keeps some disks within the image and some by an overlay."
                                  : fmt::format("Its parent {} is kept the other way.", shown(file.parent))));
    if (file.memory == Keeping::external && !file.memory_file.empty()) {
      const auto state = storage::look_at(file.memory_file);
      if (state.kind != storage::PathState::Kind::file &&
          state.kind != storage::PathState::Kind::block_device)
        file.findings.push_back(
            Finding{"libvirt/memory-missing"_rule}.at("memory.file").found(Value::text(file.memory_file)));
    }
    for (const auto& disk : file.disks) {
      if (disk.keeping == Keeping::external && !disk.source.empty()) overlay(file, disk);
      if (disk.keeping == Keeping::internal) internal(file, disk);
    }
  }

  void overlay(LibvirtFile& file, const LibvirtDisk& disk) {
    const auto at = image_of(disk.source);
    if (!at) {
      file.findings.push_back(Finding{"libvirt/overlay-missing"_rule}
                                  .at(of_disk(disk, "source"))
                                  .found(Value::text(disk.source))
                                  .saying(problem_of(disk.source)));
      return;
    }
    const auto& node = graph_.nodes[*at];
    format(file, disk, node, "qcow2");
    if (order(file, disk, *at)) return;
    const auto* const then = find(file.then, disk.target);
    if (then == nullptr || then->source.empty() || (node.below && node.below == node_of(then->source)))
      return;
    file.findings.push_back(
        Finding{"libvirt/overlay-base"_rule}
            .at(of_disk(disk, "source"))
            .wanted(Value::text(then->source))
            .found(Value::text(node.below ? graph_.nodes[*node.below].file : "no backing file"))
            .saying(fmt::format("It is about {}.", shown(disk.source))));
  }

  // Whether the nearest ancestor with an overlay of this disk has it above this one's.
  bool order(LibvirtFile& file, const LibvirtDisk& disk, std::size_t overlay) const {
    for (auto at = file.parent_at; at; at = files_[*at].parent_at) {
      const auto& parent = files_[*at];
      const auto* const before = find(parent.disks, disk.target);
      if (before == nullptr || before->keeping != Keeping::external) continue;
      const auto above = image_of(before->source);
      if (!above || *above == overlay || !stands_on(*above, overlay)) return false;
      file.findings.push_back(Finding{"libvirt/parent-order"_rule}
                                  .at(of_disk(disk, "source"))
                                  .found(Value::text(disk.source))
                                  .saying(fmt::format("{} of the earlier snapshot {} stands on it.",
                                                      shown(before->source), shown(parent.name))));
      return true;
    }
    return false;
  }

  // The image that had the disk when the snapshot was made.
  [[nodiscard]] std::string image_then(const LibvirtFile& file, const LibvirtDisk& disk) const {
    if (const auto* const then = find(file.then, disk.target)) return then->source;
    for (const auto& other : files_)
      if (other.kind == LibvirtFile::Kind::domain && other.group == file.group)
        if (const auto* const now = find(other.then, disk.target)) return now->source;
    return {};
  }

  void internal(LibvirtFile& file, const LibvirtDisk& disk) {
    const auto source = image_then(file, disk);
    if (source.empty()) return;
    const auto at = image_of(source);
    if (at) described_[*at].insert(file.name);
    const bool there = at && graph_.nodes[*at].qcow2() &&
                       std::ranges::any_of(graph_.nodes[*at].info->snapshots,
                                           [&](const auto& one) { return one.name == file.name; });
    if (there) return;
    file.findings.push_back(Finding{"libvirt/snapshot-missing"_rule}
                                .at(of_disk(disk, ""))
                                .wanted(Value::text(file.name))
                                .saying(at ? fmt::format("{} has no snapshot of this name.", shown(source))
                                           : problem_of(source)));
  }

  // Which snapshot the machine goes on from, as far as the files say.
  void currents() {
    struct Group {
      std::vector<std::size_t> current;
      std::optional<std::size_t> unmarked;  // one that says that it is not the current one
      bool unsaid = false;
    };
    std::vector<Group> groups(groups_);
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const auto& file = files_[i];
      if (file.kind != LibvirtFile::Kind::snapshot) continue;
      auto& group = groups[file.group];
      if (!file.active)
        group.unsaid = true;
      else if (*file.active)
        group.current.push_back(i);
      else
        group.unmarked = group.unmarked.value_or(i);
    }
    for (const auto& group : groups) {
      if (group.current.size() == 1) apart(files_[group.current[0]]);
      for (std::size_t i = 1; i < group.current.size(); ++i) {
        auto& file = files_[group.current[i]];
        file.findings.push_back(
            Finding{"libvirt/current-several"_rule}
                .at("active")
                .found(Value::text(file.name))
                .saying(fmt::format("{} is called so too.", shown(files_[group.current[0]].name))));
      }
      if (group.current.empty() && group.unmarked && !group.unsaid)
        files_[*group.unmarked].findings.push_back(Finding{"libvirt/current-unknown"_rule}.at("active"));
    }
  }

  // The machine's disks against the snapshot that it goes on from.
  void apart(const LibvirtFile& current) {
    for (auto& file : files_) {
      if (file.kind != LibvirtFile::Kind::domain || file.group != current.group) continue;
      for (const auto& disk : file.then) {
        const auto* const kept = find(current.disks, disk.target);
        const auto* const then = find(current.then, disk.target);
        if (kept == nullptr || then == nullptr) continue;
        if (kept->keeping != Keeping::internal && kept->keeping != Keeping::external) continue;
        const auto now = image_of(disk.source), was = image_of(then->source);
        if (!now || !was || stands_on(*now, *was)) continue;
        file.findings.push_back(Finding{"libvirt/current-apart"_rule}
                                    .at(of_disk(disk, "source"))
                                    .wanted(Value::text(then->source))
                                    .found(Value::text(disk.source))
                                    .saying(fmt::format("The current snapshot is {}.", shown(current.name))));
      }
    }
  }

  void shared_disks() {
    struct User {
      std::size_t file, disk;
    };
    std::map<std::size_t, User> users;
    for (std::size_t i = 0; i < files_.size(); ++i) {
      auto& file = files_[i];
      if (file.kind != LibvirtFile::Kind::domain) continue;
      for (std::size_t d = 0; d < file.then.size(); ++d) {
        const auto& disk = file.then[d];
        const auto at = image_of(disk.source);
        if (!at || disk.read_only || disk.shareable) continue;
        const auto [first, fresh] = users.emplace(*at, User{i, d});
        if (fresh) continue;
        const auto& other = files_[first->second.file];
        const auto& same = other.then[first->second.disk];
        if (first->second.file != i && other.group == file.group)
          continue;  // as it runs and as it will start
        file.findings.push_back(
            Finding{"libvirt/shared-disk"_rule}
                .at(of_disk(disk, "source"))
                .found(Value::text(disk.source))
                .saying(fmt::format("It is {} of {} too.", of_disk(same, ""), shown(other.name))));
      }
    }
  }

  // Snapshots in the disks of machines that no XML describes.
  void unlisted() {
    for (const auto& file : files_)
      for (const auto& disk : file.then)
        if (const auto at = image_of(disk.source)) described_[*at];
    for (const auto& [at, names] : described_) {
      auto& node = graph_.nodes[at];
      if (!node.qcow2()) continue;
      std::uint64_t count = 0;
      std::string list;
      for (const auto& snapshot : node.info->snapshots) {
        if (names.contains(snapshot.name)) continue;
        if (++count <= 8) list += (list.empty() ? "" : ", ") + shown(snapshot.name);
      }
      if (count == 0) continue;
      node.findings.push_back(Finding{"libvirt/snapshot-unlisted"_rule}
                                  .at("snapshot_table")
                                  .found(Value::dec(count))
                                  .saying(fmt::format("They are {}{}.", list, count > 8 ? ", ..." : "")));
      std::ranges::sort(node.findings);
    }
  }

  std::vector<LibvirtFile>& files_;
  std::size_t groups_;
  Graph& graph_;
  bool snapshots_given_ = false;
  std::map<std::string, std::size_t> by_name_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> by_file_;
  std::map<std::size_t, std::set<std::string>>
      described_;  // images of machines, with the names that XML knows
};

}  // namespace

void check_libvirt(Libvirt& libvirt, Graph& graph) { LibvirtChecks(libvirt, graph).run(); }

}  // namespace cowvet::analyzer
