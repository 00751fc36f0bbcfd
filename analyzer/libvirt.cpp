#include "analyzer/libvirt.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <pugixml.hpp>

#include "base/text.hpp"
#include "storage/directory.hpp"
#include "storage/naming.hpp"
#include "storage/path_state.hpp"

namespace cowvet::analyzer {

namespace {

using pugi::xml_node;
using storage::PathState;

// libvirt itself takes and gives no longer text.
constexpr std::uint64_t longest_file = 4 << 20;
constexpr std::size_t most_files = 20'000, most_disks = 256, most_backing = 1'000, longest_name = 4'096;
constexpr int deepest_folder = 16;

// Takes a document apart. What breaks a bound is told in `problem`.
class XmlReader {
 public:
  explicit XmlReader(LibvirtFile& out) : out_(out) {}

  void document(const xml_node& root) {
    const std::string_view kind = root.name();
    if (kind == "domainsnapshot") {
      out_.kind = LibvirtFile::Kind::snapshot;
      snapshot(root);
    } else if (kind == "domain" || kind == "domstatus") {
      out_.kind = LibvirtFile::Kind::domain;
      domain(kind == "domain" ? root : root.child("domain"));
      out_.live = kind == "domstatus" || root.attribute("id");
      out_.name = out_.domain;
    } else {
      problem(fmt::format("its root element is <{}>: give the XML of domains and of their snapshots", kind));
    }
    if (out_.problem.empty() && out_.name.empty()) problem("it has no <name>: libvirt would not read it");
    if (!out_.problem.empty()) out_.kind = LibvirtFile::Kind::unreadable;
  }

 private:
  void problem(std::string what) {
    if (out_.problem.empty()) out_.problem = std::move(what);
  }

  std::string text(const char* value) {
    std::string words = value;
    if (words.size() > longest_name) {
      problem(fmt::format("a name in it has more than {} bytes", longest_name));
      words.clear();
    }
    return words;
  }

  // A file's name; a relative one starts where the XML lies.
  std::string file(const char* value) {
    auto name = text(value);
    const auto slash = out_.file.rfind('/');
    if (name.empty() || name.starts_with('/') || slash == std::string::npos) return name;
    return out_.file.substr(0, slash + 1) + name;
  }

  static Keeping keeping(const char* word) {
    const std::string_view value = word;
    for (const auto one : {Keeping::none, Keeping::internal, Keeping::external, Keeping::manual})
      if (value == to_string(one)) return one;
    return Keeping::unsaid;
  }

  std::string source(const xml_node& from, std::string_view kind) {
    if (kind == "file") return file(from.attribute("file").value());
    if (kind == "block") return file(from.attribute("dev").value());
    return {};
  }

  LibvirtDisk disk(const xml_node& from) {
    LibvirtDisk out;
    out.kind = text(from.attribute("type").as_string("file"));
    out.source = source(from.child("source"), out.kind);
    out.format = text(from.child("driver").attribute("type").value());
    return out;
  }

  void backing(const xml_node& from, LibvirtDisk& out) {
    for (auto layer = from.child("backingStore"); layer; layer = layer.child("backingStore")) {
      const auto kind = layer.attribute("type");
      if (!kind) {
        out.backing_ends = true;
        return;
      }
      if (out.backing.size() == most_backing)
        return problem(fmt::format("more than {} files below one disk", most_backing));
      out.backing.push_back({source(layer.child("source"), kind.value()),
                             text(layer.child("format").attribute("type").value())});
    }
  }

  void domain(const xml_node& from) {
    out_.domain = text(from.child("name").text().get());
    out_.uuid = text(from.child("uuid").text().get());
    for (const auto& one : from.child("devices").children("disk")) {
      auto out = disk(one);
      out.target = text(one.child("target").attribute("dev").value());
      const std::string_view device = one.attribute("device").value();
      out.read_only = one.child("readonly") || device == "cdrom";
      out.optional = std::string_view(one.child("source").attribute("startupPolicy").value()) == "optional";
      out.shareable = !one.child("shareable").empty();
      backing(one, out);
      if (out_.then.size() == most_disks) return problem(fmt::format("more than {} disks", most_disks));
      out_.then.push_back(std::move(out));
    }
  }

  void snapshot(const xml_node& from) {
    domain(from.child("domain"));
    out_.name = text(from.child("name").text().get());
    out_.parent = text(from.child("parent").child("name").text().get());
    out_.state = text(from.child("state").text().get());
    if (const auto active = from.child("active")) out_.active = active.text().as_int() != 0;
    const auto memory = from.child("memory");
    out_.memory = keeping(memory.attribute("snapshot").value());
    out_.memory_file = file(memory.attribute("file").value());
    for (const auto& one : from.child("disks").children("disk")) {
      auto out = disk(one);
      out.target = text(one.attribute("name").value());
      out.keeping = keeping(one.attribute("snapshot").value());
      if (out_.disks.size() == most_disks) return problem(fmt::format("more than {} disks", most_disks));
      out_.disks.push_back(std::move(out));
    }
  }

  LibvirtFile& out_;
};

// Files and folders, each file once: libvirt keeps links to the domains that start with the host.
class Collector {
 public:
  explicit Collector(const OpenFile& open) : open_(open) {}

  base::Result<void> add_given(const std::string& name) {
    if (storage::list_folder(name)) return add_folder(name, 0);
    const auto state = storage::look_at(name);
    if (state.kind == PathState::Kind::missing || state.kind != PathState::Kind::file)
      return base::fail(base::ErrorKind::not_found,
                        state.kind == PathState::Kind::missing
                            ? "there is no such file or folder"
                            : "is neither a file nor a folder: give libvirt's XML");
    return add_file(name, false);
  }

  Libvirt finish() {
    group();
    return std::move(libvirt_);
  }

 private:
  base::Result<void> add_folder(const std::string& folder, int depth) {
    auto list = storage::list_folder(folder);
    if (!list) return std::unexpected(std::move(list.error()));
    const std::string prefix = folder == "." ? "" : folder.ends_with('/') ? folder : folder + '/';
    for (const auto& name : list->files)
      if (name.ends_with(".xml"))
        if (auto added = add_file(prefix + name, true); !added) return added;
    if (depth == deepest_folder) return {};
    for (const auto& name : list->folders)
      // One that is closed to us does not end the search.
      if (auto added = add_folder(prefix + name, depth + 1); !added && added.error().os_error == 0)
        return added;
    return {};
  }

  base::Result<void> add_file(const std::string& file, bool from_folder) {
    const auto state = storage::look_at(file);
    if (!seen_.emplace(state.device, state.inode).second) return {};
    if (libvirt_.files.size() == most_files)
      return base::fail(base::ErrorKind::limit,
                        fmt::format("more than {} XML files: give fewer of them at once", most_files));
    auto read = read_file(file);
    read.from_folder = from_folder;
    if (!from_folder || read.problem.empty() || !foreign(read)) libvirt_.files.push_back(std::move(read));
    return {};
  }

  // XML that is well and speaks of something else: networks, pools.
  static bool foreign(const LibvirtFile& read) { return read.problem.starts_with("its root element"); }

  [[nodiscard]] LibvirtFile read_file(const std::string& file) const {
    const auto failed = [&](std::string why) {
      LibvirtFile out;
      out.file = file;
      out.problem = std::move(why);
      return out;
    };
    const auto device = open_(file);
    if (!device) return failed(device.error().message);
    const auto size = (*device)->size();
    if (size > longest_file)
      return failed(
          fmt::format("it is larger than {}, which libvirt would not read", base::human_size(longest_file)));
    std::string text(static_cast<std::size_t>(size), '\0');
    const auto request = (*device)->read(0, std::as_writable_bytes(std::span(text)));
    if (request.os_error != 0) return failed("it can't be read: the device reports an error");
    text.resize(std::min<std::size_t>(text.size(), static_cast<std::size_t>(request.valid)));
    return parse_libvirt(file, std::move(text));
  }

  // Files of one machine are told by the uuid, and by the name where one has none.
  void group() {
    std::vector<std::string> known;  // uuids
    std::map<std::string, std::size_t> by_uuid, by_name;
    for (auto& file : libvirt_.files) {
      if (file.kind == LibvirtFile::Kind::unreadable) continue;
      std::optional<std::size_t> at;
      if (const auto same = by_uuid.find(file.uuid); !file.uuid.empty() && same != by_uuid.end())
        at = same->second;
      else if (const auto named = by_name.find(file.domain); named != by_name.end())
        if (file.uuid.empty() || (!file.domain.empty() && known[named->second].empty())) at = named->second;
      if (!at) {
        at = known.size();
        known.push_back(file.uuid);
      }
      file.group = *at;
      if (known[*at].empty()) known[*at] = file.uuid;
      if (!file.uuid.empty()) by_uuid.emplace(file.uuid, *at);
      by_name.emplace(file.domain, *at);
    }
    libvirt_.groups = known.size();
  }

  const OpenFile& open_;
  Libvirt libvirt_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen_;
};

}  // namespace

std::string_view to_string(Keeping keeping) {
  switch (keeping) {
    case Keeping::unsaid: return "unsaid";
    case Keeping::none: return "no";
    case Keeping::internal: return "internal";
    case Keeping::external: return "external";
    case Keeping::manual: return "manual";
  }
  __builtin_unreachable();
}

LibvirtFile parse_libvirt(std::string file, std::string text) {
  LibvirtFile out;
  out.file = std::move(file);
  pugi::xml_document document;
  const auto parsed = document.load_buffer_inplace(text.data(), text.size());
  if (!parsed)
    out.problem = fmt::format("no well-formed XML: {} at byte {}", parsed.description(), parsed.offset);
  else
    XmlReader(out).document(document.document_element());
  return out;
}

std::vector<NamedSource> Libvirt::sources() const {
  std::vector<NamedSource> list;
  std::map<std::string, std::size_t> places;
  const auto add = [&](const LibvirtDisk& disk, bool raw_unless_said) {
    if (disk.source.empty()) return;
    const auto [at, fresh] = places.emplace(disk.source, list.size());
    if (fresh) list.push_back({disk.source});
    // What one of them takes for a guest's own bytes leads nowhere.
    if (disk.format == "raw" || (disk.format.empty() && raw_unless_said)) list[at->second].raw = true;
  };
  for (const auto& file : files) {
    for (const auto& disk : file.then) add(disk, true);
    for (const auto& disk : file.disks)
      if (disk.keeping == Keeping::external) add(disk, false);
  }
  return list;
}

base::Result<Libvirt> read_libvirt(const std::vector<std::string>& names, const OpenFile& open) {
  Collector collector(open);
  for (const auto& name : names)
    if (auto added = collector.add_given(name); !added) {
      added.error().message = fmt::format("{}: {}", base::escape(name), added.error().message);
      return std::unexpected(std::move(added.error()));
    }
  return collector.finish();
}

}  // namespace cowvet::analyzer
