#include "reports/chain.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/finding_json.hpp"
#include "reports/libvirt.hpp"
#include "reports/place.hpp"
#include "reports/tree.hpp"

namespace cowvet::reports {

using analyzer::Graph;
using analyzer::Node;
using analyzer::NodeKind;
using findings::Severity;
using Json = nlohmann::ordered_json;

namespace {

std::string_view name_of(NodeKind kind) {
  switch (kind) {
    case NodeKind::image: return "image";
    case NodeKind::missing: return "missing";
    case NodeKind::unreadable: return "unreadable";
    case NodeKind::special: return "special";
    case NodeKind::not_followed: return "not-followed";
  }
  __builtin_unreachable();
}

// What stands out about an image, in single words.
std::vector<std::string> marks(const Node& node) {
  std::vector<std::string> list;
  if (node.in_circle) list.emplace_back("circle");
  if (node.locks.in_use_for_writing())
    list.emplace_back("in use");
  else if (node.locks.held != 0)
    list.emplace_back("being read");
  if (!node.qcow2()) return list;
  const auto& info = *node.info;
  if (info.header->dirty()) list.emplace_back("dirty");
  if (info.header->corrupt()) list.emplace_back("corrupt");
  if (info.encrypted()) list.emplace_back("encrypted");
  if (!info.snapshots.empty()) list.push_back(some(info.snapshots.size(), "snapshot"));
  if (!info.bitmaps.empty()) list.push_back(some(info.bitmaps.size(), "bitmap"));
  if (info.header->external_data_file())
    list.push_back("data in " + base::escape(info.data_file_name.value_or("a file without a name")));
  return list;
}

// "declared raw" where an overlay says something else than the content.
std::string declared(const Graph& graph, const Node& node) {
  for (const auto overlay : node.overlays)
    if (const auto& format = graph.nodes[overlay].info->backing_format; format && *format != node.probed)
      return fmt::format(" (declared {})", base::escape(*format));
  return {};
}

// The tree has the bases at its root. Circles have none: they begin anywhere and end where they come back.
class Tree {
 public:
  Tree(const ChainReport& report, std::string& out) : report_(report), out_(out), shown_(nodes().size()) {}

  void all() {
    for (std::size_t i = 0; i < nodes().size(); ++i)
      if (!nodes()[i].below) show(i);
    for (std::size_t i = 0; i < nodes().size(); ++i)
      if (nodes()[i].in_circle && !shown_[i]) show(i);
  }

 private:
  [[nodiscard]] const std::vector<Node>& nodes() const { return report_.graph.nodes; }

  void show(std::size_t root) {
    draw_tree(
        root,
        [&](std::size_t index, const std::string& prefix) {
          line(index, prefix);
          const bool before = shown_[index];
          shown_[index] = true;
          return !before;  // a circle closes
        },
        [&](std::size_t index) -> const std::vector<std::size_t>& { return nodes()[index].overlays; });
  }

  void line(std::size_t index, const std::string& prefix) {
    const auto& node = nodes()[index];
    out_ += fmt::format("{}{}: {}{}", prefix, base::escape(node.file), described(node),
                        node.kind == NodeKind::image ? declared(report_.graph, node) : "");
    for (const auto& mark : marks(node)) out_ += ", " + mark;
    if (const auto& check = report_.checks[index]) out_ += fmt::format("; {}", to_string(judge(*check)));
    if (shown_[index]) out_ += " (shown above)";
    out_ += '\n';
  }

  const ChainReport& report_;
  std::string& out_;
  std::vector<bool> shown_;
};

Json node_json(const ChainReport& report, std::size_t index) {
  const auto& node = report.graph.nodes[index];
  Json json{{"filename", base::escape(node.file)}, {"kind", name_of(node.kind)}, {"given", node.given}};
  if (!node.problem.empty()) json["problem"] = base::escape(node.problem);
  if (node.kind == NodeKind::image) {
    json["format"] = node.probed;
    json["file-size"] = node.file_size;
    json["allocated"] = node.allocated;
    json["in-use"] = node.locks.in_use_for_writing();
    json["being-read"] = node.locks.held != 0;
  }
  if (node.info) json["virtual-size"] = node.info->virtual_size;
  if (node.qcow2()) {
    const auto& info = *node.info;
    json["cluster-size"] = info.geometry->cluster_size();
    json["dirty"] = info.header->dirty();
    json["corrupt"] = info.header->corrupt();
    json["encrypted"] = info.encrypted();
    json["snapshots"] = Json::array();
    for (const auto& s : info.snapshots)
      json["snapshots"].push_back({{"id", base::escape(s.id)}, {"name", base::escape(s.name)}});
    json["bitmaps"] = Json::array();
    for (const auto& b : info.bitmaps) json["bitmaps"].push_back(base::escape(b.name));
    if (info.backing_name) json["backing-name"] = base::escape(*info.backing_name);
    if (info.backing_format) json["backing-format"] = base::escape(*info.backing_format);
    if (info.data_file_name) json["data-file"] = base::escape(*info.data_file_name);
  }
  if (node.below) json["backing"] = *node.below;
  json["overlays"] = node.overlays;
  json["depth"] = node.depth;
  json["circle"] = node.in_circle;
  json["findings"] = Json::array();
  for (const auto& finding : node.findings) json["findings"].push_back(finding_json(finding));
  if (report.checks[index]) json["check"] = report_json(*report.checks[index]);
  return json;
}

std::string dot_text(std::string_view text) {
  std::string out;
  for (const char c : base::escape(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// The gravest severity that is said of a node, or nothing.
std::optional<Severity> worst(const ChainReport& report, std::size_t index) {
  std::optional<Severity> found;
  for (const auto& finding : report.graph.nodes[index].findings)
    found = std::max(found, std::optional(finding.severity));
  const auto& check = report.checks[index];
  if (check && check->outcome) found = std::max(found, check->outcome->summary.worst());
  return found;
}

}  // namespace

std::string described(const Node& node) {
  if (node.kind != NodeKind::image)
    return std::string(name_of(node.kind)) + ": " + base::escape(node.problem);
  auto text = node.probed;
  if (node.info) text += ", disk of " + base::human_size(node.info->virtual_size);
  text += fmt::format(", {} in {}", base::human_size(node.allocated), base::human_size(node.file_size));
  if (!node.problem.empty()) text += "; " + base::escape(node.problem);
  return text;
}

std::string chain_text(const ChainReport& report, const TextOptions& options) {
  std::string out;
  Tree(report, out).all();
  std::uint64_t notes = 0;
  const auto tell = [&](const std::string& file, const findings::Finding& finding) {
    if (finding.severity == Severity::note && !options.verbose) {
      ++notes;
      return;
    }
    out += fmt::format("\n{} {} ({}): {}\n  {}\n    {}\n", to_string(finding.severity), finding.rule->name,
                       finding.rule->code, finding.rule->title, base::escape(file),
                       wrapped(place(finding, PlaceDetail::all), 6, options.width));
    out += "  " + wrapped(finding.rule->consequence, 2, options.width) + '\n';
    out += "  " + wrapped(finding.rule->advice, 2, options.width) + '\n';
  };
  if (report.libvirt) {
    out += libvirt_text(*report.libvirt);
    for (const auto& file : report.libvirt->files)
      for (const auto& finding : file.findings) tell(file.file, finding);
  }
  for (const auto& node : report.graph.nodes)
    for (const auto& finding : node.findings) tell(node.file, finding);
  if (notes > 0)
    out += fmt::format("\n{} on legal but unusual things: shown with --verbose\n", some(notes, "note"));
  for (const auto& check : report.checks)
    if (check && judge(*check) != Judgement::sound) out += '\n' + text(*check, options);
  return out;
}

std::string chain_json(const ChainReport& report) {
  Json json{{"schema", "cowvet.chain/1"}, {"tool", {{"name", "cowvet"}, {"version", base::version}}}};
  json["nodes"] = Json::array();
  for (std::size_t i = 0; i < report.graph.nodes.size(); ++i) json["nodes"].push_back(node_json(report, i));
  if (report.libvirt) json["libvirt"] = libvirt_json(*report.libvirt);
  return json.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string chain_dot(const ChainReport& report) {
  std::string out = "digraph chain {\n  rankdir=BT;\n  node [shape=box];\n";
  const auto& nodes = report.graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto grave = worst(report, i);
    out +=
        fmt::format("  n{} [label=\"{}\\n{}\"{}{}];\n", i, dot_text(nodes[i].file),
                    dot_text(described(nodes[i])), nodes[i].kind == NodeKind::image ? "" : ", style=dashed",
                    grave >= Severity::error     ? ", color=red"
                    : grave == Severity::warning ? ", color=orange"
                                                 : "");
  }
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].below) {
      const auto& format = nodes[i].info->backing_format;
      out += fmt::format("  n{} -> n{} [label=\"{}\"];\n", i, *nodes[i].below, dot_text(format.value_or("")));
    }
  return out + "}\n";
}

}  // namespace cowvet::reports
