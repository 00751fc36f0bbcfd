#include "cli/layers.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/new_image.hpp"
#include "cli/shared.hpp"
#include "engine/commit.hpp"
#include "engine/create.hpp"
#include "engine/rebase.hpp"
#include "storage/naming.hpp"
#include "storage/new_file.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

// The name by which the overlay is to store its backing file.
std::string name_in(const std::string& overlay, const std::string& image) {
  auto name = storage::name_within(overlay, image);
  // A folder that is a link may lead elsewhere than its name says.
  if (same_file(storage::backing_path(overlay, name), image)) return name;
  return std::filesystem::absolute(image).string();
}

// An overlay is like its backing file, in all that an overlay can be.
base::Result<engine::CreateOptions> like(engine::OpenImage& image, const OpenedChain& chain) {
  engine::CreateOptions options;
  options.size = image.disk().size();
  options.backing_format = engine::format_word(image.format());
  auto* const qcow2 = image.qcow2();
  if (qcow2 == nullptr) return options;
  const auto& header = qcow2->header();
  options.version = header.v2.version;
  options.cluster_size = qcow2->geometry().cluster_size();
  options.refcount_bits = qcow2->geometry().refcount_bits();
  options.extended_l2 = header.extended_l2();
  options.lazy_refcounts = header.lazy_refcounts();
  options.compression = header.compression().value_or(format::Compression::deflate);
  if (header.v2.crypt_method == 0) return options;
  if (!chain.options.secret)
    return base::fail(ErrorKind::usage,
                      "is encrypted, and so must be what is written over it: give its password (--object)");
  options.encrypt = engine::EncryptOptions{.secret = *chain.options.secret};
  return options;
}

// What making the overlay would do.
base::Result<void> tell_overlay(const std::string& overlay, engine::OpenImage& image,
                                const engine::CreateOptions& options, const EditWords& edit,
                                Console& console) {
  if (storage::look_at(overlay).kind != storage::PathState::Kind::missing)
    return about_file(overlay, {ErrorKind::usage,
                                "there is such a file already: give another name, or remove it first", 0});
  const auto takes = engine::measure_qcow2(options, 0);
  if (!takes) return about_file(overlay, takes.error());
  engine::EditPlan plan;
  for (engine::OpenImage* layer : engine::layers_of(image)) plan.before.push_back(engine::state_of(*layer));
  plan.after = plan.before;
  plan.after.insert(plan.after.begin(), {overlay, engine::ImageFormat::qcow2, options.size});
  plan.needs.push_back({overlay, takes->required});
  return print_report(report_of("snapshot", plan), edit, console);
}

}  // namespace

base::Result<void> make_overlay(const NewOverlay& wanted, const DiskWords& words, const EditWords& edit,
                                Console& console) {
  const auto chain = open_chain(wanted.image, wanted.format, words);
  if (!chain) return about_file(wanted.image, chain.error());
  auto& image = *chain->image;
  if (image.format() == engine::ImageFormat::raw && chain->options.format == engine::ImageFormat::probe)
    return base::fail(ErrorKind::usage,
                      fmt::format("{}: seems to be raw, which its content could change: say -f raw if it is",
                                  base::escape(image.file())));
  auto options = like(image, *chain);
  if (!options) return about_file(image.file(), options.error());
  options->backing_file = name_in(wanted.file, image.file());
  if (auto fine = engine::check_options(*options); !fine) return about_file(wanted.file, fine.error());
  if (edit.dry_run) return tell_overlay(wanted.file, image, *options, edit, console);
  const auto file = storage::NewFile::begin(wanted.file);
  if (!file) return about_file(wanted.file, file.error());
  base::Progress progress;
  auto made = engine::create_qcow2((*file)->device(), nullptr, *options, progress);
  if (made) made = (*file)->publish();
  if (!made) return about_file(wanted.file, made.error());
  if (!edit.quiet)
    console.print(fmt::format("Overlay made: {}, with the backing file {}.\n", base::escape(wanted.file),
                              base::escape(*options->backing_file)));
  return {};
}

namespace {

std::unexpected<base::Error> no_layer(const DeletedLayer& wanted, std::string_view why) {
  return base::fail(ErrorKind::usage,
                    fmt::format("{}: '{}' {}: see cowvet info --backing-chain", base::escape(wanted.active),
                                base::escape(wanted.layer), why));
}

base::Result<std::unique_ptr<engine::ChainEdit>> merge_down(const DeletedLayer& wanted, OpenedChain& chain) {
  return engine::prepare_commit(std::move(chain.image), {.top = wanted.layer}, chain.options, chain.open);
}

// What the layer holds goes into the one above it. Null: it is no layer of the chain any more.
base::Result<std::unique_ptr<engine::ChainEdit>> pull_up(const DeletedLayer& wanted, const DiskWords& words,
                                                         OpenedChain& chain) {
  engine::OpenImage* const layer = engine::find_layer(*chain.image, wanted.layer, chain.open);
  if (layer == nullptr) {
    // Taken out before, when its own backing file is a layer still.
    const auto gone = open_chain(wanted.layer, "", words);
    engine::OpenImage* const below = gone ? gone->image->backing() : nullptr;
    if (below != nullptr && engine::find_layer(*chain.image, below->file(), chain.open) != nullptr)
      return nullptr;
    return no_layer(wanted, "is no layer of its chain");
  }
  engine::OpenImage* above = chain.image.get();
  while (above->backing() != layer) above = above->backing();
  engine::PullRequest pull;
  if (layer->backing() != nullptr) pull.base = layer->backing()->file();
  auto options = chain.options;
  options.format = above->format();
  auto image = engine::open_image(above->file(), options, chain.open);
  if (!image) return about_file(above->file(), image.error());
  return engine::prepare_pull(std::move(*image), pull, chain.options, chain.open);
}

base::Result<void> remove_file(const std::string& file) {
  std::error_code error;
  std::filesystem::remove(file, error);
  if (error) return about_file(file, {ErrorKind::io, "can't be removed", error.value()});
  return {};
}

}  // namespace

base::Result<void> delete_layer(const DeletedLayer& wanted, const DiskWords& words,
                                const EditWords& words_of_edit, Console& console) {
  if (wanted.into.empty())
    return base::fail(
        ErrorKind::usage,
        "snapshot: say where the layer's content goes: --into base (down) or --into overlay (up)");
  auto chain = open_chain(wanted.active, wanted.format, words);
  if (!chain) return about_file(wanted.active, chain.error());
  if (same_file(wanted.layer, chain->image->file()))
    return no_layer(wanted, "is the chain's top, which is no layer below another");
  const engine::OpenImage* const found = engine::find_layer(*chain->image, wanted.layer, chain->open);
  if (wanted.remove && found == nullptr &&
      storage::look_at(wanted.layer).kind == storage::PathState::Kind::missing) {
    // The file goes last: nothing else is left of it.
    if (!words_of_edit.quiet)
      console.print(
          fmt::format("{} is deleted already: it is no layer of the chain, and there is no such file.\n",
                      base::escape(wanted.layer)));
    return {};
  }
  // The layer may be told by the name that its overlay stores, which leads elsewhere from here.
  const std::string its_file = found != nullptr ? found->file() : wanted.layer;
  // Its file goes only if the chain's are the only overlays on it.
  std::vector<std::string> layers;
  for (const engine::OpenImage* layer : engine::layers_of(*chain->image)) layers.push_back(layer->file());
  if (wanted.remove && !words_of_edit.force)
    if (auto spared = refuse_with_overlays(its_file, false, words_of_edit.guard, layers); !spared)
      return about_file(its_file, spared.error());
  const bool down = wanted.into == "base";
  const auto edit = down ? merge_down(wanted, *chain) : pull_up(wanted, words, *chain);
  if (!edit) return std::unexpected(edit.error());
  if (*edit) {
    const auto done = perform(down ? "commit" : "pull", **edit, words_of_edit, console);
    if (!done) return std::unexpected(done.error());
    if (!*done) return {};
  }
  if (words_of_edit.dry_run) {
    console.print(fmt::format("{} is no layer of the chain any more{}.\n", base::escape(its_file),
                              wanted.remove ? ": its file would be removed" : ""));
    return {};
  }
  if (wanted.remove)
    if (auto removed = remove_file(its_file); !removed) return removed;
  if (words_of_edit.quiet) return {};
  const auto left =
      wanted.remove ? fmt::format("{} was removed.\n", base::escape(its_file))
      : *edit       ? left_over((*edit)->plan())
                    : fmt::format("{} is not needed by this chain any more.\n", base::escape(wanted.layer));
  console.print("Layer deleted.\n" + left);
  return {};
}

}  // namespace cowvet::cli
