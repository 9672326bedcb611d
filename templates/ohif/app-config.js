// What OHIF is told: one archive, the one it comes from.
window.config = {
  name: 'filmroom',
  routerBasename: '/ohif',
  extensions: [],
  modes: [],
  // Its guided tour would begin again after each sign-in, because signing out clears what a browser keeps.
  customizationService: [{ 'ohif.tours': { $set: [] } }],
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: true,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  allowMultiSelectExport: false,
  showErrorDetails: 'always',
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'filmroom',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'filmroom',
      configuration: {
        friendlyName: 'filmroom',
        name: 'filmroom',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/wado',
        stowRoot: '/dicom-web',
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        enableStudyLazyLoad: true,
        dicomUploadEnabled: {{ may_upload }},
        // A whole file is for those who may take files away; frames are for everybody who may look.
        loadMultiframeAsPart10: {{ may_download }},
        // A PDF is read as bulk data: /rendered comes in a sandbox, in which not every browser shows one.
        singlepart: 'bulkdata,video',
        bulkDataURI: { enabled: true, relativeResolution: 'series' },
        omitQuotationForMultipartRequest: true,
      },
    },
  ],
  httpErrorHandler: error => {
    // The session is over: sign in, and come back to what was looked at.
    if (error && error.status === 401) {
      const here = window.location.pathname + window.location.search;
      window.location.assign('/login?next=' + encodeURIComponent(here));
    }
  },
};
