#include "tests/crash/chain_operations.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "engine/commit.hpp"
#include "engine/rebase.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::crash {

namespace {

using base::GuestOffset;
using engine::CreateOptions;
using engine::OpenImage;
using engine::Qcow2Disk;
using engine::Unmap;
using engine::testing_images::layer_name;
using engine::testing_images::must;
using format::CryptMethod;
using Edit = base::Result<std::unique_ptr<engine::ChainEdit>>;

constexpr std::uint64_t kib = 1024;

std::vector<std::byte> filled(std::uint64_t length, std::size_t value) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(value * 16 + i / 512 % 16);
  return bytes;
}

// What each layer has: some of its own, some that hides lower ones, zeros, nothing; in units of the disk.
void fill(Qcow2Disk& disk, std::size_t layer, bool compressed) {
  const std::uint64_t unit = std::max<std::uint64_t>(disk.geometry().cluster_size(), kib);
  const auto at = [&](std::uint64_t units) { return GuestOffset{std::min(units * unit, disk.size())}; };
  const auto length = [&](std::uint64_t first, std::uint64_t units) {
    return std::min(units * unit, disk.size() - at(first).raw());
  };
  must(disk.write(at(layer), filled(length(layer, 2), layer + 1)));
  must(disk.write(at(layer + 5), filled(std::min(length(layer + 5, 1), unit / 2 / 512 * 512), layer + 2)));
  if (disk.header().has_v3()) must(disk.zero(at(3 + layer), length(3 + layer, 1), Unmap::yes));
  const std::uint64_t end = disk.size() / unit - 1;
  if (layer % 2 == 0) must(disk.write(at(end), filled(length(end, 1), layer + 5)));
  if (compressed && end > 8)
    must(disk.write_compressed(at(8 - layer), filled(length(8 - layer, 1), layer + 9)));
}

struct Like {
  CreateOptions options{};
  bool raw_base = false, compressed = false, snapshot = false, uneven = false, data_file = false;
};

void make_layers(ChainFiles& files, std::size_t layers, const Like& like) {
  const auto size = like.options.size;
  const auto make = [&](const std::string& name, std::size_t layer, const std::string& below) {
    auto options = like.options;
    if (like.uneven) options.size = layer % 2 == 0 ? size : size / 2;
    if (like.data_file) options.data_file = name + ".data";
    if (!below.empty()) {
      options.backing_file = below;
      options.backing_format = like.raw_base && layer == 1 ? "raw" : "qcow2";
    }
    files.make(name, options);
    const auto image = files.image(name, {.writable = true});
    fill(*image->qcow2(), layer, like.compressed);
    if (like.snapshot && layer == layers - 1) {
      (void)must(image->qcow2()->create_snapshot("s", 1, 2));
      must(image->disk().write(GuestOffset{0}, filled(700, 14)));
    }
    must(image->close());
  };
  if (like.raw_base)
    files.make_raw(layer_name(0), filled(size, 1));
  else
    make(layer_name(0), 0, "");
  for (std::size_t i = 1; i < layers; ++i) make(layer_name(i), i, layer_name(i - 1));
  make("other", 3, "");
}

// A layer of the chain, counted from the active one down; nothing when it has not so many.
std::optional<std::string> below(ChainFiles& files, const std::string& active, std::size_t steps) {
  const auto image = files.image(active);
  auto* layer = static_cast<OpenImage*>(image.get());
  for (; steps > 0 && layer != nullptr; --steps) layer = layer->backing();
  return layer != nullptr ? std::optional(layer->file()) : std::nullopt;
}
std::string lowest(ChainFiles& files, const std::string& active) {
  const auto image = files.image(active);
  return engine::layers_of(*image).back()->file();
}

// Files that are of another chain over one of `changed`: they are not asked (cli/overlay_guard.hpp asks for them).
std::vector<std::string> siblings(ChainFiles& files, const engine::EditPlan& plan,
                                  const std::vector<std::string>& changed) {
  std::vector<std::string> found;
  for (const auto& [name, bytes] : files.state()) {
    const auto same = [&](const engine::LayerState& layer) { return layer.file == name; };
    if (std::ranges::any_of(plan.before, same)) continue;
    const auto image = engine::open_image(name, {.secret = "key"}, files.open());
    if (!image) continue;
    for (OpenImage* layer : engine::layers_of(**image))
      if (std::ranges::find(changed, layer->file()) != changed.end()) {
        found.push_back(name);
        break;
      }
  }
  return found;
}

std::optional<Step> edit(ChainFiles& files, const std::string& active,
                         const std::function<Edit(ChainFiles&)>& prepare) {
  const auto first = prepare(files);
  if (!first) return std::nullopt;
  const auto& plan = (*first)->plan();
  Step step{.perform = [prepare](ChainFiles& on) -> base::Result<void> {
              auto prepared = prepare(on);
              if (!prepared) return std::unexpected(prepared.error());
              base::Progress progress;
              return (*prepared)->run({.jobs = 1}, progress);
            },
            .spoiled = plan.changed,
            .invalid = plan.invalid,
            .active = active};
  std::ranges::copy(siblings(files, plan, plan.changed), std::back_inserter(step.invalid));
  std::ranges::copy(step.invalid, std::back_inserter(step.spoiled));
  return step;
}

ChainOperation commit(std::string name, std::size_t top, std::optional<std::size_t> base, bool keep) {
  return {std::move(name), [=](ChainFiles& files, const std::string& active) -> std::optional<Step> {
            engine::CommitRequest request{.keep = keep};
            const auto upper = below(files, active, top);
            const auto lower = base ? below(files, active, *base) : lowest(files, active);
            if (!upper || !lower || *upper == *lower) return std::nullopt;
            if (top != 0) request.top = upper;
            request.base = lower;
            return edit(files, active, [=](ChainFiles& on) {
              return prepare_commit(on.image(active), request, {.secret = "key"}, on.open());
            });
          }};
}

ChainOperation rebase(std::string name, const std::string& backing, bool unsafe) {
  return {std::move(name), [=](ChainFiles& files, const std::string& active) {
            const engine::RebaseRequest request{.backing = backing, .format = backing.empty() ? "" : "qcow2"};
            auto step = edit(files, active, [=](ChainFiles& on) -> Edit {
              const engine::ChainOptions chain{.secret = "key"};
              return unsafe
                         ? prepare_rename(on.image(active, {.no_backing = true}), request, chain, on.open())
                         : prepare_rebase(on.image(active), request, chain, on.open());
            });
            if (step) step->renames = unsafe;
            return step;
          }};
}

ChainOperation pull(std::string name, bool to_lowest) {
  return {std::move(name), [=](ChainFiles& files, const std::string& active) -> std::optional<Step> {
            engine::PullRequest request;
            if (!below(files, active, to_lowest ? 2 : 1)) return std::nullopt;
            if (to_lowest) request.base = lowest(files, active);
            return edit(files, active, [=](ChainFiles& on) {
              return prepare_pull(on.image(active), request, {.secret = "key"}, on.open());
            });
          }};
}

ChainOperation change(std::string name, std::function<base::Result<void>(Qcow2Disk&)> what) {
  return {std::move(name), [what = std::move(what)](ChainFiles&, const std::string& active) {
            return std::optional(Step{.perform = [what, active](ChainFiles& on) -> base::Result<void> {
                                        auto image = on.image(active, {.writable = true});
                                        if (auto done = what(*image->qcow2()); !done) return done;
                                        return image->close();
                                      },
                                      .active = active,
                                      .partial = true});
          }};
}

// A new overlay, whose file is made before: the command makes it under another name, and names it when it is whole.
ChainOperation external() {
  return {"external snapshot", [](ChainFiles& files, const std::string& active) -> std::optional<Step> {
            if (active == "new") return std::nullopt;
            const auto image = files.image(active);
            CreateOptions options{.size = image->disk().size(),
                                  .cluster_size = image->qcow2()->geometry().cluster_size()};
            options.backing_file = active;
            options.backing_format = "qcow2";
            files.make_raw("new", {});
            return Step{.perform = [options](ChainFiles& on) -> base::Result<void> {
                          auto device = on.open()("new", true);
                          if (!device) return std::unexpected(device.error());
                          base::Progress progress;
                          if (auto made = create_qcow2(**device, nullptr, options, progress); !made)
                            return made;
                          return (*device)->flush();
                        },
                        .spoiled = {"new"},
                        .active = "new",
                        .makes_new = true};
          }};
}

// With the shortest key material that there is.
engine::EncryptOptions encrypted(CryptMethod method) {
  return {.method = method, .secret = "key", .cipher = "aes-128", .mode = "cbc", .iter_time_ms = 1};
}

}  // namespace

std::vector<Shape> shapes() {
  const std::pair<const char*, Like> kinds[] = {
      {"plain", {.options = {.size = 24 * kib, .cluster_size = 512}}},
      {"raw base", {.options = {.size = 24 * kib, .cluster_size = 512}, .raw_base = true}},
      {"version 2", {.options = {.size = 24 * kib, .version = 2, .cluster_size = 512}}},
      {"64 bits", {.options = {.size = 24 * kib, .cluster_size = 512, .refcount_bits = 64}, .uneven = true}},
      {"1 bit", {.options = {.size = 24 * kib, .cluster_size = 512, .refcount_bits = 1}}},
      {"lazy", {.options = {.size = 24 * kib, .cluster_size = 512, .lazy_refcounts = true}, .uneven = true}},
      {"extended", {.options = {.size = 192 * kib, .cluster_size = 16 * kib, .extended_l2 = true}}},
      {"compressed", {.options = {.size = 24 * kib, .cluster_size = 1024}, .compressed = true}},
      {"snapshot", {.options = {.size = 24 * kib, .cluster_size = 512}, .snapshot = true}},
      {"data files", {.options = {.size = 24 * kib, .cluster_size = 512}, .data_file = true}},
      {"AES", {.options = {.size = 24 * kib, .cluster_size = 512, .encrypt = encrypted(CryptMethod::aes)}}},
      {"LUKS",
       {.options = {.size = 24 * kib, .cluster_size = 512, .encrypt = encrypted(CryptMethod::luks)}}}};
  std::vector<Shape> all;
  for (const auto& [name, like] : kinds)
    for (const std::size_t layers : {2U, 3U})
      all.push_back({fmt::format("{}, {} layers", name, layers), layers,
                     [layers, kind = like](ChainFiles& files) { make_layers(files, layers, kind); },
                     like.options.encrypt && like.options.encrypt->method == CryptMethod::luks});
  return all;
}

std::vector<ChainOperation> chain_operations() {
  return {commit("commit", 0, 1, false),
          commit("commit and keep", 0, 1, true),
          commit("commit into the lowest", 0, std::nullopt, false),
          commit("commit the layer below", 1, 2, false),
          rebase("rebase", "other", false),
          rebase("rebase onto nothing", "", false),
          rebase("unsafe rebase", "other", true),
          pull("pull everything", false),
          pull("pull down to the lowest", true),
          external(),
          change("write", [](Qcow2Disk& disk) { return disk.write(GuestOffset{700}, filled(3000, 13)); }),
          change("discard",
                 [](Qcow2Disk& disk) { return disk.discard(GuestOffset{0}, disk.size() / 1024 * 512); })};
}

}  // namespace cowvet::crash
