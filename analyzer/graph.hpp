// Images and what they stand on, as a graph: every file once, whatever it is called, with the file that it names as its
// backing file. Promises: reads headers and tables of names only; writes nothing; a name is followed only where it is a
// local file, and never where the file was declared raw: what a guest wrote there must not lead to other files. What
// could not be followed is a node too, which says why.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/info.hpp"
#include "base/result.hpp"
#include "findings/finding.hpp"
#include "storage/device.hpp"
#include "storage/locks.hpp"
#include "storage/path_state.hpp"

namespace cowvet::analyzer {

enum class NodeKind : std::uint8_t {
  image,         // opened: a regular file or a block device
  missing,       // there is no such file
  unreadable,    // it is there, but can't be opened or read
  special,       // a folder, pipe, socket or character device: not opened
  not_followed,  // json:, or a protocol: described only
};

struct Node {
  std::string file;  // the name that it was first reached by: raw bytes
  NodeKind kind = NodeKind::image;
  std::string problem;  // why it is no image, or why its header can't be used; "" when all is well
  storage::PathState state;
  std::string probed;  // what its content looks like: "qcow2", "raw", "vmdk", ...
  std::optional<Info> info;
  std::uint64_t file_size = 0, allocated = 0;  // bytes
  storage::LockState locks;
  bool given = false;      // named by the user, or met in a folder
  bool no_folder = false;  // reached by a name that relative names can't be resolved from

  std::optional<std::size_t> below;         // what its backing name leads to
  std::vector<std::size_t> overlays;        // whose backing names lead here, ascending
  bool in_circle = false;                   // following backing names leads back here
  std::uint64_t depth = 0;                  // files below it
  std::vector<findings::Finding> findings;  // of the chain; filled by check_graph()

  [[nodiscard]] bool qcow2() const { return info && info->qcow2(); }
};

struct Graph {
  std::vector<Node> nodes;  // those that were given first, in their order
  // The nodes that no other one stands on, and one of each circle that would not be seen otherwise: where to begin.
  [[nodiscard]] std::vector<std::size_t> tops() const;
};

struct GraphOptions {
  bool recursive = false;    // folders in folders, too
  bool follow_json = false;  // json: names that mean a plain local file
  std::uint64_t deepest = 200;
};

using OpenFile = std::function<base::Result<std::unique_ptr<storage::Device>>(const std::string& file)>;

// An image that somebody else names, and what he takes it for.
struct NamedSource {
  std::string file;
  bool raw = false;
};

// `names`: images and folders. Of a folder, the qcow2 images in it. `sources` become nodes too, even where there is no
// such file. Errors name the image or folder of `names` that can't be opened; what other files lead to is
// never an error.
[[nodiscard]] base::Result<Graph> read_graph(const std::vector<std::string>& names,
                                             const GraphOptions& options, const OpenFile& open,
                                             const std::vector<NamedSource>& sources = {});

// Raises the rules of the area chain on the nodes.
void check_graph(Graph& graph, const GraphOptions& options);

}  // namespace cowvet::analyzer
