// A candidate is proved by what it holds: together with the overlay it must show one file system. Where no
// file system can tell, the name, the format and the size may, by choice.
#include "cli/repair_chain.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "analyzer/backing_place.hpp"
#include "analyzer/info.hpp"
#include "analyzer/overlays.hpp"
#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/new_image.hpp"
#include "repair/chain_agreement.hpp"
#include "storage/directory.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t deepest = 200;
constexpr std::size_t most_candidates = 64;

struct Candidate {
  std::string file;
  bool same_name = false, same_size = false;
  repair::Agreement agreement{};
};

std::string in_folder(const std::string& folder, const std::string& name) {
  return (fs::path(folder.empty() ? "." : folder) / name).string();
}

class ChainSearch {
 public:
  ChainSearch(const Shared& shared, const std::vector<std::string>& folders, base::Progress& progress)
      : shared_(shared), folders_(folders), progress_(progress) {}

  base::Result<std::vector<ChainLink>> run(const std::string& image) {
    std::string file = image, format = shared_.format;
    while (links_.size() < deepest) {
      links_.push_back({.file = file, .format = format});
      auto& link = links_.back();
      if (format == "raw") break;
      const auto device = open_quietly(file, shared_);
      if (!device) {
        if (links_.size() == 1) return std::unexpected(device.error());
        link.problem = device.error().message;
        break;
      }
      const auto info = analyzer::read_info(**device, analyzer::Format::probe);
      if (!info || !info->qcow2()) {
        if (links_.size() > 1 && format.empty()) link.format = "raw";
        break;  // raw, or its header is gone: that is mended first
      }
      if (!info->backing_name) break;
      auto below = look_below(link, *info);
      if (!below) return std::unexpected(below.error());
      if (below->empty() ||
          std::ranges::any_of(links_, [&](const auto& l) { return same_file(l.file, *below); }))
        break;
      file = std::move(*below);
      format = info->backing_format == "qcow2" || info->backing_format == "raw" ? *info->backing_format : "";
    }
    std::ranges::reverse(links_);
    return std::move(links_);
  }

 private:
  // The file below; "" when there is none that can be gone on with.
  base::Result<std::string> look_below(ChainLink& link, const analyzer::Info& info) {
    const auto place = analyzer::backing_place(link.file, *info.backing_name);
    if (place.kind != analyzer::BackingPlace::Kind::file) {
      link.problem = fmt::format("its backing file '{}' is no local file", base::escape(*info.backing_name));
      return {};
    }
    if (storage::look_at(place.path).kind != storage::PathState::Kind::missing) return place.path;
    auto candidates = find_candidates(link, info, fs::path(place.path).filename().string());
    if (!candidates) return std::unexpected(candidates.error());
    return choose(link, info, place.path, *candidates);
  }

  base::Result<std::vector<Candidate>> find_candidates(const ChainLink& link, const analyzer::Info& info,
                                                       const std::string& name) {
    std::vector<std::string> folders{analyzer::folder_of(link.file)};
    folders.insert(folders.end(), folders_.begin(), folders_.end());
    std::vector<Candidate> candidates;
    for (const auto& folder : folders) {
      const auto listed = storage::list_folder(folder.empty() ? "." : folder);
      if (!listed) continue;
      for (const auto& entry : listed->files) {
        Candidate candidate{.file = in_folder(folder, entry), .same_name = entry == name};
        if (candidates.size() >= most_candidates || !may_be(link, info, candidate)) continue;
        if (progress_.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
        if (auto done = compare(link, info, candidate); !done) return std::unexpected(done.error());
        candidates.push_back(std::move(candidate));
      }
    }
    return candidates;
  }
  // Whether its form is right: of a raw file, the size is all that there is.
  bool may_be(const ChainLink& link, const analyzer::Info& info, Candidate& candidate) const {
    const auto known = [&](const auto& other) { return same_file(other.file, candidate.file); };
    if (same_file(candidate.file, link.file) || std::ranges::any_of(links_, known)) return false;
    const auto device = open_quietly(candidate.file, shared_);
    if (!device) return false;
    const bool raw = info.backing_format == "raw";
    const auto its = analyzer::read_info(**device, raw ? analyzer::Format::raw : analyzer::Format::probe);
    if (!its || (info.backing_format == "qcow2" && !its->qcow2())) return false;
    candidate.same_size = its->virtual_size == info.virtual_size;
    return candidate.same_name || candidate.same_size;
  }
  base::Result<void> compare(const ChainLink& link, const analyzer::Info& info, Candidate& candidate) const {
    const auto word = [](const std::string& format) {
      return format == "raw" ? engine::ImageFormat::raw : engine::ImageFormat::qcow2;
    };
    engine::ChainOptions options{.format = engine::ImageFormat::qcow2,
                                 .backing = fs::absolute(candidate.file).string()};
    if (info.backing_format) options.backing_format = word(*info.backing_format);
    DiskWords words;
    words.force_share = shared_.force_share;
    words.io = shared_.io;
    auto top = engine::open_image(link.file, options, file_opener(words));
    if (!top) return {};  // nothing can be told then
    const auto agreement = repair::agreement_of(**top, progress_);
    if (!agreement) return std::unexpected(agreement.error());
    candidate.agreement = *agreement;
    return {};
  }

  static std::string choose(ChainLink& link, const analyzer::Info& info, const std::string& missing,
                            const std::vector<Candidate>& candidates) {
    std::vector<const Candidate*> proved, likely;
    for (const auto& c : candidates) {
      if (c.agreement.proved()) proved.push_back(&c);
      if (c.agreement.refuted == 0 && c.same_name && c.same_size) likely.push_back(&c);
    }
    const auto named = [](const Candidate* c) { return c->same_name; };
    if (proved.size() > 1 && std::ranges::count_if(proved, named) == 1)
      proved = {*std::ranges::find_if(proved, named)};
    const bool by_content = !proved.empty();
    const auto& best = by_content ? proved : likely;
    const auto gone = fmt::format("its backing file '{}' is missing", base::escape(missing));
    if (best.empty()) {
      link.problem = gone +
                     ", and no file that was looked at can be told to be it: name its folder with "
                     "--search, or the file itself with 'cowvet rebase -u -b FILE'";
      return {};
    }
    if (best.size() > 1) {
      link.problem = fmt::format("{}, and '{}' and {} more may be it: move the right one to its place", gone,
                                 base::escape(best.front()->file), best.size() - 1);
      return {};
    }
    const auto& c = *best.front();
    const auto& a = c.agreement;
    link.reconnect = {.name = name_for(link.file, c.file, *info.backing_name),
                      .evidence = by_content
                                      ? fmt::format("{} parts of a file system prove themselves, {} of them "
                                                    "in the overlay, {} below it, {} "
                                                    "across both, and none contradicts",
                                                    a.above + a.below + a.across, a.above, a.below, a.across)
                                      : "it has the name, the format and the size of the one that is "
                                        "missing; what it holds proves nothing",
                      .proved = by_content};
    return c.file;
  }
  // As the old name was: from the root of all folders, or from the image's own.
  static std::string name_for(const std::string& image, const std::string& base, const std::string& old) {
    std::error_code error;
    const auto target = fs::weakly_canonical(base, error);
    if (old.starts_with('/') || error) return error ? fs::absolute(base).string() : target.string();
    const auto folder = fs::weakly_canonical(image, error).parent_path();
    const auto name = target.lexically_relative(folder).string();
    return error || name.empty() ? target.string() : name;
  }

  const Shared& shared_;
  const std::vector<std::string>& folders_;
  base::Progress& progress_;
  std::vector<ChainLink> links_;
};

}  // namespace

base::Result<std::vector<ChainLink>> find_chain(const std::string& image, const Shared& shared,
                                                const std::vector<std::string>& folders,
                                                base::Progress& progress) {
  return ChainSearch(shared, folders, progress).run(image);
}

}  // namespace cowvet::cli
