#include "cli/output_image.hpp"

#include "cli/disks.hpp"
#include "engine/raw_disk.hpp"
#include "storage/wrapper.hpp"

namespace cowvet::cli {

base::Result<OutputImage> make_output(const std::string& file, const std::string& format,
                                      const engine::CreateOptions& options, base::Progress& progress) {
  OutputImage output;
  auto made = storage::NewFile::begin(file);
  if (!made) return std::unexpected(made.error());
  output.made = std::move(*made);
  auto& device = output.made->device();
  auto written = format == "qcow2"
                     ? engine::create_qcow2(device, nullptr, options, progress)
                     : engine::resize_raw(device, options.size, engine::Preallocation::off, progress);
  if (!written) return std::unexpected(written.error());
  engine::ChainOptions chain{.format = image_format(format), .writable = true, .no_backing = true};
  if (options.encrypt) chain.secret = options.encrypt->secret;
  auto image = engine::open_image(
      file, chain, [&](const std::string&, bool) -> base::Result<std::unique_ptr<storage::Device>> {
        return std::make_unique<storage::Wrapper>(device);
      });
  if (!image) return std::unexpected(image.error());
  output.image = std::move(*image);
  return output;
}

base::Result<void> OutputImage::publish() {
  if (auto closed = image->close(); !closed) return closed;
  image.reset();
  return made->publish();
}

}  // namespace cowvet::cli
