#include "analyzer/graph.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "analyzer/backing_place.hpp"
#include "analyzer/circles.hpp"
#include "analyzer/json_name.hpp"
#include "analyzer/probe.hpp"
#include "base/text.hpp"
#include "storage/directory.hpp"

namespace cowvet::analyzer {

namespace {

using storage::PathState;

class Builder {
 public:
  Builder(const GraphOptions& options, const OpenFile& open) : options_(options), open_(open) {}

  base::Result<void> add_given(const std::string& name);
  void add_source(const NamedSource& source);
  Graph finish();

 private:
  base::Result<void> add_folder(const std::string& folder);
  std::size_t add_file(const std::string& file);
  std::size_t add_named(const std::string& name, NodeKind kind, std::string problem);
  void read(Node& node);
  void follow(std::size_t index);
  void find_circles();
  void measure_depths();

  const GraphOptions& options_;
  const OpenFile& open_;
  Graph graph_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> files_;
  std::map<std::string, std::size_t> names_;  // of what is no file
  std::vector<std::size_t> due_;              // whose backing names are to be followed
  std::vector<bool> followed_;
};

// One that stands for a name only.
std::size_t Builder::add_named(const std::string& name, NodeKind kind, std::string problem) {
  const auto [at, fresh] = names_.emplace(name, graph_.nodes.size());
  if (fresh) {
    auto& node = graph_.nodes.emplace_back();
    node.file = name;
    node.kind = kind;
    node.problem = std::move(problem);
  }
  return at->second;
}

std::size_t Builder::add_file(const std::string& file) {
  const auto state = storage::look_at(file);
  using Kind = PathState::Kind;
  if (state.kind == Kind::missing) {
    const bool absent = state.os_error == ENOENT || state.os_error == ENOTDIR;
    const auto opened = open_(file);
    return add_named(file, absent ? NodeKind::missing : NodeKind::unreadable,
                     opened ? "it appears and vanishes" : opened.error().message);
  }
  const auto [at, fresh] = files_.emplace(std::pair(state.device, state.inode), graph_.nodes.size());
  if (!fresh) return at->second;
  auto& node = graph_.nodes.emplace_back();
  node.file = file;
  node.state = state;
  if (state.kind == Kind::other || state.kind == Kind::character_device) {
    node.kind = NodeKind::special;
    node.problem = "is no file that could hold an image: it is not opened";
  } else {
    read(node);
  }
  return at->second;
}

void Builder::read(Node& node) {
  const auto device = open_(node.file);
  if (!device) {
    node.kind = NodeKind::unreadable;
    node.problem = device.error().message;
    return;
  }
  node.file_size = (*device)->size();
  node.allocated = (*device)->allocated();
  std::array<std::byte, 512> first{};
  const auto request = (*device)->read(0, first);
  if (request.os_error != 0) {
    node.kind = NodeKind::unreadable;
    node.problem = "its first bytes can't be read: the device reports an error";
    return;
  }
  node.probed = format_by_magic(std::span(first).first(static_cast<std::size_t>(request.valid)));
  if (node.probed.empty()) node.probed = "raw";
  if (node.probed == "qcow2" || node.probed == "raw") {
    auto info = read_info(**device, node.probed == "qcow2" ? Format::qcow2 : Format::raw);
    if (info)
      node.info = std::move(*info);
    else
      node.problem = info.error().message;
  }
  if (const auto locks = storage::image_in_use(node.file)) node.locks = *locks;
}

base::Result<void> Builder::add_folder(const std::string& folder) {
  auto list = storage::list_folder(folder);
  if (!list) return std::unexpected(std::move(list.error()));
  const std::string prefix = folder == "." ? "" : folder.ends_with('/') ? folder : folder + '/';
  for (const auto& name : list->files) {
    // What is no qcow2 image counts only where one stands on it.
    const auto device = open_(prefix + name);
    std::array<std::byte, 8> first{};
    if (!device || (*device)->read(0, first).valid < first.size() || format_by_magic(first) != "qcow2")
      continue;
    const auto index = add_file(prefix + name);
    graph_.nodes[index].given = true;
    due_.push_back(index);
  }
  if (options_.recursive)
    for (const auto& name : list->folders) {
      // One that is closed to us does not end the search.
      if (const auto inner = add_folder(prefix + name); !inner && inner.error().os_error == 0) return inner;
    }
  return {};
}

base::Result<void> Builder::add_given(const std::string& name) {
  if (storage::list_folder(name)) return add_folder(name);
  const auto index = add_file(name);
  auto& node = graph_.nodes[index];
  if (node.kind != NodeKind::image) return base::fail(base::ErrorKind::io, node.problem);
  node.given = true;
  due_.push_back(index);
  return {};
}

void Builder::add_source(const NamedSource& source) {
  const auto index = add_file(source.file);
  if (!source.raw) due_.push_back(index);
}

void Builder::follow(std::size_t index) {
  const auto& info = *graph_.nodes[index].info;
  const std::string file = graph_.nodes[index].file;
  const std::string name = *info.backing_name;
  const bool declared_raw = info.backing_format == "raw";
  std::size_t below = 0;
  bool no_folder = false, go_on = !declared_raw;
  auto place = backing_place(file, name);
  if (place.kind == BackingPlace::Kind::json) {
    if (const auto json = json_file(name); json && options_.follow_json) {
      below = add_file(json->file);
      no_folder = json->no_folder;
      go_on = json->format != "raw" && !json->no_backing;
    } else {
      below = add_named(name, NodeKind::not_followed,
                        json ? "named by json:, described only (--allow-remote follows it)"
                             : "named by json: with more than a local file's name, which is not followed");
    }
  } else if (place.kind == BackingPlace::Kind::protocol) {
    below = add_named(place.path, NodeKind::not_followed,
                      "is reached by a protocol: cowvet opens local files only, and connects to nobody");
  } else if (graph_.nodes[index].no_folder && !place.path.starts_with('/')) {
    below = add_named(place.path, NodeKind::not_followed, "a relative name without a folder to start from");
  } else {
    below = add_file(place.path);
  }
  graph_.nodes[index].below = below;
  graph_.nodes[below].overlays.push_back(index);
  if (no_folder) graph_.nodes[below].no_folder = true;
  if (go_on) due_.push_back(below);
}

void Builder::find_circles() {
  each_circle(
      graph_.nodes.size(), [&](std::size_t node) { return graph_.nodes[node].below; },
      [&](std::span<const std::size_t> members) {
        for (const auto member : members) graph_.nodes[member].in_circle = true;
      });
}

void Builder::measure_depths() {
  std::vector<bool> known(graph_.nodes.size());
  for (std::size_t start = 0; start < known.size(); ++start) {
    std::vector<std::size_t> walk;
    std::optional<std::size_t> at = start;
    while (at && !known[*at]) {
      known[*at] = true;
      walk.push_back(*at);
      at = graph_.nodes[*at].below;
    }
    std::uint64_t depth = at ? graph_.nodes[*at].depth + 1 : 0;
    for (; !walk.empty(); walk.pop_back()) graph_.nodes[walk.back()].depth = depth++;
  }
}

Graph Builder::finish() {
  for (std::size_t i = 0; i < due_.size(); ++i) {  // NOLINT(modernize-loop-convert): it grows meanwhile
    const auto index = due_[i];
    if (followed_.size() < graph_.nodes.size()) followed_.resize(graph_.nodes.size());
    if (followed_[index]) continue;
    followed_[index] = true;
    const auto& node = graph_.nodes[index];
    if (node.qcow2() && node.info->backing_name) follow(index);
  }
  for (auto& node : graph_.nodes) std::ranges::sort(node.overlays);
  find_circles();
  measure_depths();
  return std::move(graph_);
}

}  // namespace

std::vector<std::size_t> Graph::tops() const {
  std::vector<std::size_t> list;
  std::vector<bool> reached(nodes.size());
  const auto begin = [&](std::size_t index) {
    list.push_back(index);
    for (std::optional<std::size_t> at = index; at && !reached[*at]; at = nodes[*at].below)
      reached[*at] = true;
  };
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].overlays.empty()) begin(i);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (!reached[i]) begin(i);
  return list;
}

base::Result<Graph> read_graph(const std::vector<std::string>& names, const GraphOptions& options,
                               const OpenFile& open, const std::vector<NamedSource>& sources) {
  Builder builder(options, open);
  for (const auto& name : names)
    if (auto added = builder.add_given(name); !added) {
      added.error().message = fmt::format("{}: {}", base::escape(name), added.error().message);
      return std::unexpected(std::move(added.error()));
    }
  for (const auto& source : sources) builder.add_source(source);
  return builder.finish();
}

}  // namespace cowvet::analyzer
