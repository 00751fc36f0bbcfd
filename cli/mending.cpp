#include "cli/mending.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/examination.hpp"
#include "cli/program.hpp"
#include "repair/repair.hpp"
#include "repair/undo.hpp"
#include "repair/undo_files.hpp"
#include "storage/file.hpp"

namespace cowvet::cli {

namespace {

// About an undo file, so that what is wrong with it is not taken for the image's format.
std::unexpected<base::Error> of_undo(base::Error error) {
  if (error.kind == base::ErrorKind::wrong_format) error.kind = base::ErrorKind::usage;
  return std::unexpected(std::move(error));
}

// Takes back what an interrupted repair left half done.
base::Result<void> finish_interrupted(const std::string& image, storage::Device& device, bool plan_only,
                                      Console& console, base::Progress& progress) {
  const auto files = repair::interrupted_undo_files(image);
  if (!files) return of_undo(files.error());
  for (const auto& file : *files) {
    if (plan_only)
      return base::fail(base::ErrorKind::usage,
                        fmt::format("a repair was interrupted: take it back with 'cowvet undo {}' first",
                                    base::escape(file)));
    auto undo = storage::open_file(file, {.writable = true});
    if (!undo) return about_file(file, undo.error());
    if (auto done = repair::recover(device, **undo, progress); !done) return of_undo(done.error());
    console.complain(fmt::format("{}: a repair was interrupted, and was taken back with {}",
                                 base::escape(image), base::escape(file)));
  }
  return {};
}

base::Result<std::unique_ptr<storage::Device>> open_for(const std::string& image, const Shared& shared,
                                                        bool plan_only, Console& console) {
  if (plan_only) return open_image(image, shared, console);
  auto device = storage::open_file(image, {.writable = true, .lock = !shared.force_share});
  if (!device) return std::unexpected(file_error(image, true, std::move(device.error())));
  return device;
}

}  // namespace

base::Result<Mended> mend(const std::string& image, const Shared& shared, const Mending& how,
                          Console& console, base::Progress& progress) {
  if (!how.plan_only)
    if (auto spared = refuse_with_overlays(image, shared.image_options, how.guard, how.apart); !spared)
      return std::unexpected(spared.error());
  const auto device = open_for(image, shared, how.plan_only, console);
  if (!device) return std::unexpected(device.error());
  if (auto done = finish_interrupted(image, **device, how.plan_only, console, progress); !done)
    return std::unexpected(done.error());

  const auto data_file = open_data_file(**device, shared);
  std::unique_ptr<storage::Device> model;
  if (!how.model.empty()) {
    auto opened = open_quietly(how.model, shared);
    if (!opened) return about_file(how.model, opened.error());
    model = std::move(*opened);
  }
  const repair::Options options{.level = how.level,
                                .allow_loss = how.allow_loss,
                                .jobs = how.jobs,
                                .assume_qcow2 = shared.format == "qcow2",
                                .path = image,
                                .data_file = data_file.get(),
                                .model = model.get(),
                                .reconnect = how.reconnect,
                                .choices = how.choices};
  auto planned = repair::plan_repair(**device, options, progress);
  if (!planned) return std::unexpected(planned.error());
  Mended mended{.plan = std::move(planned->plan)};
  if (how.plan_only || !mended.plan.changes_anything() || !mended.plan.objection.empty()) return mended;
  const auto undo_file =
      how.undo_file.empty() ? repair::new_undo_file(image) : base::Result<std::string>(how.undo_file);
  if (!undo_file) return std::unexpected(undo_file.error());
  const auto applied =
      repair::apply_to_file(image, **device, planned->draft->image(), *undo_file, how.cause, progress);
  if (!applied) return of_undo(applied.error());
  mended.done = true;
  if (applied->changed) mended.undo_file = *undo_file;
  return mended;
}

}  // namespace cowvet::cli
