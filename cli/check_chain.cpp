#include "cli/check_chain.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "analyzer/graph.hpp"

namespace cowvet::cli {

namespace {

using analyzer::Node;

// How a file is to be looked at that `over` stands on. A qcow2 image is one whatever it is declared to be:
// which of the two is wrong is not known. One that is declared so and does not look like it has lost its
// header.
std::string format_below(const Node& node, const Node& over) {
  if (node.probed == "qcow2") return "";
  return over.info->backing_format == "qcow2" ? "qcow2" : node.probed == "raw" ? "raw" : "";
}

std::vector<Link> links_below(const std::string& image, const Shared& shared) {
  std::vector<Link> alone{{.file = image, .format = shared.format}};
  if (shared.format == "raw") return alone;  // what a guest wrote must not lead to other files
  const auto open = [&](const std::string& file) { return open_quietly(file, shared); };
  auto graph = analyzer::read_graph({image}, {}, open);
  if (!graph) return alone;  // the check will say why
  analyzer::check_graph(*graph, {});
  auto& nodes = graph->nodes;
  std::vector<Link> links;
  const Node* over = nullptr;
  std::vector<bool> seen(nodes.size());
  for (std::optional<std::size_t> at = 0; at && !seen[*at]; at = nodes[*at].below) {
    auto& node = nodes[*at];
    seen[*at] = true;
    if (node.kind != analyzer::NodeKind::image) break;
    Link link{.file = node.file,
              .format = over != nullptr ? format_below(node, *over) : shared.format,
              .looked_below = node.below && nodes[*node.below].kind == analyzer::NodeKind::image,
              .of_the_chain = std::move(node.findings)};
    link.raw_base = over != nullptr && link.format == "raw";
    if (link.raw_base) {  // its report says nothing but that it is raw
      auto& above = links.back().of_the_chain;
      std::ranges::move(link.of_the_chain, std::back_inserter(above));
      link.of_the_chain.clear();
    }
    links.push_back(std::move(link));
    over = &node;
  }
  std::ranges::reverse(links);
  return links;
}

}  // namespace

std::vector<Link> links_of(std::span<const std::string> images, const Shared& shared, bool whole_chains) {
  std::vector<Link> all;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;  // device and inode
  for (const auto& image : images) {
    if (!whole_chains) {
      all.push_back({.file = image, .format = shared.format});
      continue;
    }
    for (auto& link : links_below(image, shared)) {
      const auto state = storage::look_at(link.file);
      if (state.kind == storage::PathState::Kind::missing || seen.emplace(state.device, state.inode).second)
        all.push_back(std::move(link));
    }
  }
  return all;
}

}  // namespace cowvet::cli
