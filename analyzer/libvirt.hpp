// What libvirt knows of virtual machines and their snapshots: its XML (<domain>, <domstatus>,
// <domainsnapshot>), read into plain values. Promises: reads only the XML files that it is told of and those
// in the folders; no external entity, schema or include is followed; sizes are bounded, so that no file can
// take the memory. Whether what they say is true is for check_libvirt().
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/graph.hpp"
#include "base/result.hpp"
#include "findings/finding.hpp"

namespace cowvet::analyzer {

// How a snapshot keeps a disk or the memory. `unsaid`: the XML leaves it to libvirt.
enum class Keeping : std::uint8_t { unsaid, none, internal, external, manual };
[[nodiscard]] std::string_view to_string(Keeping keeping);

// One <disk> of a domain or of a snapshot. Names are raw bytes, resolved from the XML file's folder.
struct LibvirtDisk {
  struct Layer {
    std::string source, format;
  };
  std::string target;  // "vda"; in a snapshot, what its <disk> is named by
  std::string source;  // a file or block device; "" when there is none, or none that is a local file
  std::string kind;    // "file", "block", "network", ...
  std::string format;  // the driver's type; "" when it is not said
  bool read_only = false, shareable = false;
  bool optional = false;              // the machine starts without it
  Keeping keeping = Keeping::unsaid;  // of a snapshot's disk
  std::vector<Layer> backing;         // the files below that a <backingStore> lists
  bool backing_ends = false;          // the list says that nothing lies below its last file
};

struct LibvirtFile {
  enum class Kind : std::uint8_t { unreadable, domain, snapshot };
  std::string file;  // the name that it was reached by
  Kind kind = Kind::unreadable;
  std::string problem;            // why it can't be read; "" when all is well
  bool from_folder = false;       // met in a folder, with all that is kept beside it
  std::string name;               // of the domain or the snapshot
  std::string uuid, domain;       // of the domain; "" when it is not said
  bool live = false;              // of a domain: as it runs now, not as it will start
  std::vector<LibvirtDisk> then;  // the domain's disks; of a snapshot, as they were when it was made

  // Of a snapshot.
  std::string parent;  // "" for a root
  std::string state;   // "running", "shutoff", "disk-snapshot", ...
  std::optional<bool> active;
  Keeping memory = Keeping::unsaid;
  std::string memory_file;
  std::vector<LibvirtDisk> disks;

  std::size_t group = 0;                 // the same for all files of one virtual machine
  std::optional<std::size_t> parent_at;  // position of the parent in Libvirt::files; set by check_libvirt()
  std::vector<findings::Finding> findings;  // set by check_libvirt()
};

struct Libvirt {
  std::vector<LibvirtFile> files;
  std::size_t groups = 0;
  // The images that the XML names: they belong to the graph. See read_graph().
  [[nodiscard]] std::vector<NamedSource> sources() const;
};

// `names`: XML files, and folders, which are searched with the folders in them for files called *.xml; XML in
// folders that describes something else is passed over. Errors name what can't be opened, or say which bound
// was reached.
[[nodiscard]] base::Result<Libvirt> read_libvirt(const std::vector<std::string>& names, const OpenFile& open);

// One file's text; `file` is its name.
[[nodiscard]] LibvirtFile parse_libvirt(std::string file, std::string text);

// Raises the rules of the area libvirt: on the XML files, and on the images that the XML should know more of.
void check_libvirt(Libvirt& libvirt, Graph& graph);

}  // namespace cowvet::analyzer
